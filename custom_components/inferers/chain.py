"""Several inferers in a row, each improving the field of the one before."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from time import perf_counter

import numpy as np
import torch
from torch import Tensor

from custom_components.common.console import stage
from custom_components.fields import compose, invert, sample_at, warp
from custom_components.inferers.result import Base, Estimate, PairImages, Registration, Stage, Step
from custom_components.matching.point_pairs import PointPairs

ROUNDING = 1.5 / 255  # grey values
LEAST_CONTRAST = 0.1  # grey values


class Chain:
    """Runs ``steps`` from no displacement to the final field and inverts it.

    An error estimate is of the field that it was made for: a step that changes the field and hands on the estimate of
    the one before loses it, so what estimates stands last, or is followed by steps that estimate anew.

    An image registered to itself stays where it is, whatever the steps make of it.

    After a step that gives a ``Base`` the steps see the moving image as that warps it, and start from no displacement
    there; in the end both fields, and both inverses, are composed.

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
        estimate, base = Estimate.identity(images.shape, images.fixed.device), None
        for step in self.steps:
            stage(step_name(step))
            before, estimate = estimate, step(images, estimate)
            if estimate.error is before.error and estimate.ddf is not before.ddf:
                estimate = replace(estimate, error=None)
            if base is None and estimate.base is not None:
                base = estimate.base
                images, estimate = on_base(images, estimate, base)
        if base is None and same(images):
            # networks see displacements of some pixels in anything; here it is known that there are none
            done = Stage("same images", 0.0, {"largest_dropped_voxels": float(estimate.ddf.abs().max())})
            estimate = replace(estimate, ddf=torch.zeros_like(estimate.ddf), stages=(*estimate.stages, done))
        stage("inverse")
        start = perf_counter()
        inverse, residual = invert(estimate.ddf, iterations=self.inverse_iterations)
        tissue = residual[images.moving_mask > 0.5]
        if base is not None:
            estimate, inverse = off_base(estimate, base), compose(inverse, base.inverse)
        last = Stage(
            "inverse",
            perf_counter() - start,
            {"median_residual_voxels": float(tissue.median()) if len(tissue) else 0.0},
        )
        return Registration(
            estimate.ddf, inverse, estimate.matches, estimate.dropped, (*estimate.stages, last), estimate.error,
            None if base is None else base.lone,
        )  # fmt: skip


def same(images: PairImages) -> bool:
    """Whether both images are one and the same, but for rounding of its grey values, and show something."""
    if float(images.fixed.max() - images.fixed.min()) < LEAST_CONTRAST:
        return False
    return bool((images.fixed - images.moving).abs().max() <= ROUNDING)


def on_base(images: PairImages, estimate: Estimate, base: Base) -> tuple[PairImages, Estimate]:
    """The pair with its moving image as the base warps it, and the estimate that nothing moves any more.

    Where fixed tissue has no counterpart the moving image is empty, so that nothing is matched with it by chance.
    """
    shown = 1 - base.lone
    moving, mask = (warp(image, base.ddf) * shown for image in (images.moving, images.moving_mask))
    still = replace(
        estimate, ddf=torch.zeros_like(base.ddf), affine=np.eye(estimate.ddf.shape[1] + 1),
        matches=_moved(estimate.matches, base.inverse), dropped=_moved(estimate.dropped, base.inverse), base=None,
    )  # fmt: skip
    # a step that reads more of the files would read them unwarped
    return replace(images, moving=moving, moving_mask=mask, origin=None), still


def off_base(estimate: Estimate, base: Base) -> Estimate:
    """An estimate on the pair of ``on_base``, on the pair itself."""
    return replace(
        estimate, ddf=compose(base.ddf, estimate.ddf), matches=_moved(estimate.matches, base.ddf),
        dropped=_moved(estimate.dropped, base.ddf),
    )  # fmt: skip


def _moved(pairs: PointPairs, ddf: Tensor) -> PointPairs:
    """The pairs, their moving points carried by a field."""
    shift = sample_at(ddf.cpu(), pairs.moving.cpu()).to(pairs.moving) if len(pairs) else 0.0
    return replace(pairs, moving=pairs.moving + shift)


def step_name(step: object) -> str:
    """A step as a user reads it: ``FlowRefinement`` is "flow refinement"."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", type(step).__name__).lower()
