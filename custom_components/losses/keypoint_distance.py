"""Distance of corresponding points after a displacement field."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from custom_components.common.errors import InputError
from custom_components.fields.compose import check_ddf
from custom_components.fields.sampling import sample


class KeypointDistanceLoss(nn.Module):
    """Weighted mean of ``|p_fixed + ddf(p_fixed) - p_moving|``, as a share of the image's diagonal.

    Source: Ge et al., SFG, and Wei et al., "IPCG" (IEEE TMI 2024), which divide by 1.414 times the side of a square
    image. The points of a batch count alike, whichever pair they belong to.

    Args:
        smooth: voxels; below this the distance is quadratic (Charbonnier), so that points that are nearly there pull
            less. 0 is the plain distance of the source, whose gradient at a distance of 0 is taken as 0.

    Raises:
        InputError: ``smooth`` is negative.
    """

    def __init__(self, smooth: float = 0.0) -> None:
        super().__init__()
        if not smooth >= 0:
            raise InputError(f"smooth is a number of voxels, 0 or more, got {smooth}")
        self.smooth = smooth

    def forward(self, ddf: Tensor, points_fixed: Tensor, points_moving: Tensor, valid: Tensor | None = None) -> Tensor:
        """Scalar; 0, still with a gradient, where there are no points or all weights are 0.

        Args:
            ddf: (B, D, *spatial), voxels, fixed -> moving; beyond the grid its border value is taken.
            points_fixed: (B, N, D), voxels, array-axis order.
            points_moving: their counterparts.
            valid: (B, N), weights; 0 for points that only fill the tensor, whatever their coordinates. None takes all
                alike.

        Raises:
            InputError: the shapes are not these.
        """
        dimensions = check_ddf(ddf)
        count = points_fixed.shape[1] if points_fixed.ndim == 3 else 0
        if points_fixed.shape != (len(ddf), count, dimensions) or points_moving.shape != points_fixed.shape:
            raise InputError(
                f"points are ({len(ddf)}, N, {dimensions}), got fixed {tuple(points_fixed.shape)} and moving "
                f"{tuple(points_moving.shape)}"
            )
        if valid is None:
            valid = ddf.new_ones(len(ddf), count)
        if valid.shape != (len(ddf), count):
            raise InputError(f"valid is ({len(ddf)}, {count}), a weight a point, got {tuple(valid.shape)}")
        if count == 0:
            return 0 * ddf.sum()
        valid = valid.to(ddf)
        used = (valid > 0)[..., None]
        start, end = (torch.where(used, points.to(ddf), 0) for points in (points_fixed, points_moving))
        positions = start.transpose(1, 2).reshape(len(ddf), dimensions, count, *(1,) * (dimensions - 1))
        displacement = sample(ddf, positions).reshape(len(ddf), dimensions, count).transpose(1, 2)
        distance = self._length(start + displacement - end)
        total = valid.sum()
        diagonal = sum(side**2 for side in ddf.shape[2:]) ** 0.5
        loss: Tensor = (distance * valid).sum() / (total.where(total > 0, 1.0) * diagonal)
        return loss

    def _length(self, vectors: Tensor) -> Tensor:
        if self.smooth == 0:
            length: Tensor = torch.linalg.vector_norm(vectors, dim=-1)  # has the gradient 0 at 0
            return length
        return (vectors.square().sum(-1) + self.smooth**2).sqrt() - self.smooth
