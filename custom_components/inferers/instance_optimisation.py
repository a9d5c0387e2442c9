"""Refinement of one pair's field by gradient descent on a similarity, without any training.

What is optimised is the residual after the affine part of the chain, so that turned and mirrored sections need no
special care. Its change at each level of a pyramid is a cubic B-spline on a coarse control grid, which is smooth by
construction: a dense field would follow the noise between two stains. The images are blurred and halved, never warped,
on the way down; at each iteration the moving image of the level is interpolated once, by the whole field.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from time import perf_counter

import numpy as np
import torch
import torch.nn.functional as F
from monai.networks.blocks.warp import DVF2DDF
from monai.networks.layers import GaussianFilter
from torch import Tensor, nn

from custom_components.common.arrays import Matrix
from custom_components.common.errors import InputError
from custom_components.fields import (
    compose,
    compose_affine,
    folding_share,
    grid_change,
    nonrigid_part,
    repair_folds,
    resize,
    warp,
)
from custom_components.fields.spline import spline_matrix
from custom_components.inferers.flow_refinement import local_similarity
from custom_components.inferers.result import Estimate, PairImages, Stage
from custom_components.losses.curvature import CurvatureLoss
from custom_components.losses.windowed_ncc import WindowedNCCLoss

SMALLEST_SIDE = 32


def pyramid(image: Tensor, levels: int) -> list[Tensor]:
    """The image and its halves, coarsest first; no level has a side below ``SMALLEST_SIDE`` but the image itself.

    Args:
        image: (1, C, H, W).
        levels: at most so many; each is blurred by a Gaussian of sigma 1 voxel before it is halved.
    """
    blur = GaussianFilter(2, 1.0).to(image.device)
    found = [image]
    while len(found) < levels and min(found[-1].shape[2:]) >= 2 * SMALLEST_SIDE:
        shape = [-(-side // 2) for side in found[-1].shape[2:]]
        # the border continued: the filter alone would darken it
        blurred = blur(F.pad(found[-1], (4,) * 4, mode="replicate"))[..., 4:-4, 4:-4]
        found.append(F.interpolate(blurred, shape, mode="bilinear", align_corners=False))
    return found[::-1]


class ControlGrid(nn.Module):
    """A field (1, 2, H, W) in voxels, spanned by cubic B-splines; zero at first.

    Args:
        spatial: (H, W).
        spacing: voxels between control points.
        like: the field's dtype and device.
    """

    def __init__(self, spatial: Sequence[int], spacing: float, like: Tensor) -> None:
        super().__init__()
        rows, columns = (torch.from_numpy(spline_matrix(side, spacing)).to(like) for side in spatial)
        self.rows, self.columns = rows, columns
        self.control = nn.Parameter(like.new_zeros(1, 2, rows.shape[1], columns.shape[1]))

    def forward(self) -> Tensor:
        """The field."""
        return self.rows @ self.control @ self.columns.T


class InstanceOptimisation:
    """Adam on the control points, coarse to fine; see the module's text.

    Alone it starts from no displacement and finds a few voxels of the coarsest level; after another inferer it
    refines that one's field. Where the images have nothing in common or no contrast, where the loss is not finite and
    where it got no lower, the estimate is returned as it came, and the stage says why.

    The defaults were chosen on training pairs of ANHIR at 512 px; weights from 2000 to 8000 hardly differ, ten times
    less costs an eighth of the gain. Levels are counted from the finest: twice the resolution wants one more of them.

    Args:
        similarity: called with the warped moving image, the fixed image and the mask of common tissue, (1, 1, H, W)
            each; a scalar, lower is better. None: ``WindowedNCCLoss`` with windows of 9 voxels, in which a standard
            deviation of grey below 0.03 counts little, since there the stains agree on noise alone.
        regularisation: called with the residual field (1, 2, H, W), voxels of the level; a scalar. None:
            ``CurvatureLoss``, which lets affine motion pass.
        weight: of the regularisation.
        levels: of the pyramid; small images get fewer.
        iterations: of Adam, at each level; or one number a level, coarsest first, of which small images use the last.
            0 leaves a level out, the only one of a small image excepted.
        learning_rate: of Adam, voxels of the level, so that it means the same at any resolution; it falls to zero
            within each level as a cosine.
        spacing: between control points, voxels of the level.
        proximity: weight of the mean squared distance to the field that a level starts from, in voxels of the level.
        diffeomorphic: the splines span a stationary velocity, which is integrated (scaling and squaring) and composed
            with the field so far; slower, and hardly ever folds.
        minimum_jacobian: the residual is smoothed locally until its Jacobian determinant is above this.

    Raises:
        InputError: a number of levels, iterations or a length makes no sense.
    """

    def __init__(
        self,
        similarity: nn.Module | None = None,
        regularisation: nn.Module | None = None,
        weight: float = 4000.0,
        levels: int = 4,
        iterations: int | Sequence[int] = (60, 60, 60, 0),
        learning_rate: float = 0.2,
        spacing: float = 6.0,
        proximity: float = 0.0,
        diffeomorphic: bool = False,
        minimum_jacobian: float = 0.1,
    ) -> None:
        if levels < 1:
            raise InputError(f"levels must be at least 1, got {levels}")
        counts = [iterations] * levels if isinstance(iterations, int) else list(iterations)
        if len(counts) != levels or min(counts) < 0:
            raise InputError(f"iterations must be one number, or one for each of {levels} levels, got {iterations}")
        if learning_rate <= 0 or spacing < 1:
            raise InputError(
                f"learning_rate must be above 0 and spacing at least 1 voxel, got {learning_rate} and {spacing}"
            )
        self.similarity = similarity or WindowedNCCLoss(kernel_size=9, minimum_variance=1e-3)
        self.regularisation = regularisation or CurvatureLoss()
        self.weight = weight
        self.levels = levels
        self.iterations = counts
        self.learning_rate = learning_rate
        self.spacing = spacing
        self.proximity = proximity
        self.diffeomorphic = diffeomorphic
        self.minimum_jacobian = minimum_jacobian

    def __call__(self, images: PairImages, estimate: Estimate) -> Estimate:
        """See ``Step``."""
        start = perf_counter()
        self.similarity.to(images.fixed.device)
        self.regularisation.to(images.fixed.device)
        before = nonrigid_part(estimate.affine, estimate.ddf)
        found, reason = self._optimise(images, estimate.affine, before)
        details: dict[str, float | str] = {
            f"{name}_before": value for name, value in _figures(images, estimate.ddf, before).items()
        }
        if found is None:
            ddf = estimate.ddf
            details["unchanged"] = reason
        else:
            details["folding_before_repair"] = folding_share(found, images.fixed_mask)
            # of the residual, since a mirrored section's affine turns all tissue over, and rightly so
            residual = repair_folds(found, self.minimum_jacobian)
            ddf = compose_affine(estimate.affine, residual)
            details |= _figures(images, ddf, residual)
        return replace(
            estimate,
            ddf=ddf,
            stages=(*estimate.stages, Stage("instance optimisation", perf_counter() - start, details)),
        )

    def _optimise(self, images: PairImages, affine: Matrix, residual: Tensor) -> tuple[Tensor | None, str]:
        """The better residual (1, 2, H, W), or None and why the one so far is kept."""
        originals = (images.moving, images.fixed, images.moving_mask, images.fixed_mask)
        pyramids = [pyramid(image.detach(), self.levels) for image in originals]
        counts = self.iterations[-len(pyramids[0]) :]
        if not any(counts):
            counts[-1] = max(self.iterations)
        field, level = residual, None
        for moving, fixed, moving_mask, fixed_mask, iterations in zip(*pyramids, counts, strict=True):
            if iterations == 0:
                continue
            shape = (fixed.shape[-2], fixed.shape[-1])
            start = resize(field, shape)
            to_level = grid_change(images.shape, shape)
            matrix = np.asarray(to_level @ affine @ np.linalg.inv(to_level))
            mask = fixed_mask * warp(moving_mask, compose_affine(matrix, start))
            level = _Level(moving, fixed, mask, matrix)
            if level.mask.sum() < 1:
                return None, "no common tissue"
            if not (level.contrast() > 1e-3):
                return None, "an image is constant"
            change = self._descend(level, start, iterations)
            if not change.isfinite().all():
                return None, "the loss is not finite"
            field = field + resize(change, images.shape)
        if level is None:
            return None, "no iterations"
        before, after = (self._loss(level, resize(f, level.shape)) for f in (residual, field))
        return (field, "") if after < before else (None, "the loss got no lower")

    @torch.enable_grad()
    def _descend(self, level: _Level, start: Tensor, iterations: int) -> Tensor:
        """The change (1, 2, h, w) of the residual ``start`` that lowers the loss, voxels of the level."""
        grid = ControlGrid(level.shape, self.spacing, start)
        integrate = DVF2DDF(num_steps=7).to(start.device) if self.diffeomorphic else None
        optimiser = torch.optim.Adam(grid.parameters(), lr=self.learning_rate)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, iterations)

        def change() -> Tensor:
            spline: Tensor = grid()
            return spline if integrate is None else compose(start, integrate(spline)) - start

        for _ in range(iterations):
            optimiser.zero_grad()
            moved = change()
            loss = self._loss(level, start + moved)
            if self.proximity > 0:
                loss = loss + self.proximity * moved.square().mean()
            loss.backward()
            optimiser.step()
            schedule.step()
        return change().detach()

    def _loss(self, level: _Level, residual: Tensor) -> Tensor:
        """Similarity and regularisation, a scalar; proximity, which belongs to the descent, left out."""
        loss: Tensor = self.similarity(level.warped(residual), level.fixed, level.mask)
        return loss + self.weight * self.regularisation(residual) if self.weight > 0 else loss


@dataclass(frozen=True)
class _Level:
    """One level of the pyramid: images and common tissue (1, 1, h, w), the affine in its voxels."""

    moving: Tensor
    fixed: Tensor
    mask: Tensor
    affine: Matrix

    @property
    def shape(self) -> tuple[int, int]:
        """(h, w)."""
        return self.fixed.shape[-2], self.fixed.shape[-1]

    def warped(self, residual: Tensor) -> Tensor:
        """The moving image through the affine and ``residual``, interpolated once."""
        return warp(self.moving, compose_affine(self.affine, residual))

    def contrast(self) -> float:
        """The smaller standard deviation of the two images."""
        return float(torch.minimum(self.moving.std(), self.fixed.std()))


def _figures(images: PairImages, ddf: Tensor, residual: Tensor) -> dict[str, float]:
    return {"similarity": local_similarity(images, ddf), "folding": folding_share(residual, images.fixed_mask)}
