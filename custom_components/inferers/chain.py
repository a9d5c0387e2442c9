"""Several inferers in a row, each improving the field of the one before."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from time import perf_counter

import torch

from custom_components.common.console import stage
from custom_components.fields import invert
from custom_components.inferers.result import Estimate, PairImages, Registration, Stage, Step


class Chain:
    """Runs ``steps`` from no displacement to the final field and inverts it.

    An error estimate is of the field that it was made for: a step that changes the field and hands on the estimate of
    the one before loses it, so what estimates stands last, or is followed by steps that estimate anew.

    Args:
        steps: each takes the images and the estimate so far and returns a better estimate.
        inverse_iterations: of the fixed-point inversion.
    """

    def __init__(self, steps: Sequence[Step], inverse_iterations: int = 50) -> None:
        self.steps = list(steps)
        self.inverse_iterations = inverse_iterations

    @torch.no_grad()
    def __call__(self, images: PairImages) -> Registration:
        """Register one prepared pair.

        Raises:
            RegistrationError: a step found no evidence that the images belong together.
        """
        estimate = Estimate.identity(images.shape, images.fixed.device)
        for step in self.steps:
            stage(step_name(step))
            before, estimate = estimate, step(images, estimate)
            if estimate.error is before.error and estimate.ddf is not before.ddf:
                estimate = replace(estimate, error=None)
        stage("inverse")
        start = perf_counter()
        inverse, residual = invert(estimate.ddf, iterations=self.inverse_iterations)
        tissue = residual[images.moving_mask > 0.5]
        last = Stage(
            "inverse",
            perf_counter() - start,
            {"median_residual_voxels": float(tissue.median()) if len(tissue) else 0.0},
        )
        return Registration(
            estimate.ddf, inverse, estimate.matches, estimate.dropped, (*estimate.stages, last), estimate.error
        )


def step_name(step: object) -> str:
    """A step as a user reads it: ``FlowRefinement`` is "flow refinement"."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", type(step).__name__).lower()
