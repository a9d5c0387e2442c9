"""Affine alignment by a trained network, in as many passes as asked for.

Source: Wodzinski and Mueller, "Learning-based affine registration of histological images", WBIR 2020.
"""

from __future__ import annotations

from dataclasses import replace
from time import perf_counter

import numpy as np
import torch
from torch import Tensor, nn

from custom_components.common.arrays import Matrix
from custom_components.common.errors import InputError, RegistrationError
from custom_components.fields import affine_to_ddf, grid_change, warp
from custom_components.inferers.affine_alignment import implausible
from custom_components.inferers.result import Estimate, PairImages, Stage
from custom_components.inferers.rotation_search import shortest_side_to
from custom_components.losses.patch_ncc import correlation
from custom_components.networks.affine import theta_to_matrix


def voxel_matrix(theta: Tensor, spatial: tuple[int, int]) -> Matrix:
    """(3, 3) row/col matrix in voxels, fixed -> moving, of what a network gave for one pair.

    Args:
        theta: (1, 2, 3), fixed -> moving in corner-aligned coordinates (-1 and 1 at the centres of the first and the
            last voxel), array-axis order.
        spatial: (H, W) of the grid that the network saw.

    Raises:
        InputError: ``theta`` has another shape.
        RegistrationError: a value of ``theta`` is not finite.
    """
    if theta.shape != (1, 2, 3):
        raise InputError(f"an affine network gives (1, 2, 3) for one pair, got {tuple(theta.shape)}")
    matrix = theta_to_matrix(theta.cpu().double(), spatial)[0]
    if not matrix.isfinite().all():
        raise RegistrationError(f"the affine network gives {theta[0].tolist()}; are its weights loaded?")
    return np.asarray(matrix.numpy(), dtype=np.float64)


def refusal(matrix: Matrix, max_scale: float) -> str:
    """Why a correction is not one of two sections of one block; empty when it is."""
    determinant = float(np.linalg.det(matrix[:2, :2]))
    if determinant <= 0:
        return f"its determinant is {determinant:.2f}"
    return implausible(matrix, max_scale)


class AffineNetwork:
    """Multiplies the estimate's affine by the corrections that a network sees in the pair warped by it.

    The field of the estimate becomes that of the affine: a nonrigid part so far is dropped. A correction that is
    implausible is refused, and so is, on request, one that lowers the correlation; the passes end there, and the
    stage says why.

    Args:
        network: moving and fixed image (1, 2, H, W) -> (1, 2, 3), see ``voxel_matrix``; with its weights.
        size: shortest side of the images that it sees, voxels; smaller images are not enlarged.
        passes: corrections at most.
        max_scale: factor of size, or its inverse, from which a correction is implausible.
        only_better: refuse a correction under which the global correlation does not rise.
    """

    def __init__(
        self,
        network: nn.Module,
        size: int = 512,
        passes: int = 1,
        max_scale: float = 1.6,
        only_better: bool = True,
    ) -> None:
        if size < 8 or passes < 1:
            raise InputError(f"size must be at least 8 and passes at least 1, got {size} and {passes}")
        self.network = network
        self.size = size
        self.passes = passes
        self.max_scale = max_scale
        self.only_better = only_better

    @torch.no_grad()
    def __call__(self, images: PairImages, estimate: Estimate) -> Estimate:
        """See ``Step``.

        Raises:
            RegistrationError: the network gives values that are not finite.
        """
        start = perf_counter()
        network = self.network.to(images.fixed.device).eval()
        fixed = shortest_side_to(images.fixed, self.size)
        shape = (fixed.shape[-2], fixed.shape[-1])
        change = grid_change(images.shape, shape)
        matrix, moving = estimate.affine, self._moved(images, estimate.affine)
        score = before = float(correlation(moving, fixed)[0])
        done, refused = 0, ""
        for _ in range(self.passes):
            theta = network(torch.cat([moving, fixed], dim=1))
            correction = np.linalg.inv(change) @ voxel_matrix(theta, shape) @ change
            refused = refusal(correction, self.max_scale)
            if refused:
                break
            # warped by the affine so far and then by the correction: the correction is applied to a fixed point first
            candidate = matrix @ correction
            moved = self._moved(images, candidate)
            found = float(correlation(moved, fixed)[0])
            if self.only_better and not found > score:
                refused = f"the correlation goes from {score:.4f} to {found:.4f}"
                break
            matrix, moving, score, done = candidate, moved, found, done + 1
        details: dict[str, float | int | str] = {
            "passes": done, "correlation_before": before, "correlation": score,
            "determinant": float(np.linalg.det(matrix[:2, :2])),
        }  # fmt: skip
        if refused:
            details["refused"] = refused
        ddf = affine_to_ddf(matrix, images.shape).to(estimate.ddf) if done else estimate.ddf
        return replace(
            estimate,
            ddf=ddf,
            affine=matrix,
            stages=(*estimate.stages, Stage("affine network", perf_counter() - start, details)),
        )

    def _moved(self, images: PairImages, matrix: Matrix) -> Tensor:
        """The moving image (1, 1, h, w) under a matrix, at the size that the network sees."""
        ddf = affine_to_ddf(matrix, images.shape).to(images.moving)
        return shortest_side_to(warp(images.moving, ddf), self.size)
