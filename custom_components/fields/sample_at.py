"""Displacements at points between voxels."""

from __future__ import annotations

from torch import Tensor

from custom_components.common.errors import InputError
from custom_components.fields.compose import check_ddf
from custom_components.fields.sampling import sample


def sample_at(ddf: Tensor, points: Tensor) -> Tensor:
    """Displacement at sub-voxel points, linear; beyond the grid the border value.

    Args:
        ddf: (1, D, *spatial), voxels.
        points: (N, D) voxels of the grid that ``ddf`` lives on, array-axis order.

    Returns:
        (N, D) voxels, in the dtype of ``ddf``: a point goes to ``points + lookup(ddf, points)``.
    """
    dimensions = check_ddf(ddf)
    if ddf.shape[0] != 1 or points.ndim != 2 or points.shape[1] != dimensions:
        raise InputError(
            f"lookup needs one field and points (N, {dimensions}), got {tuple(ddf.shape)} and {tuple(points.shape)}"
        )
    if len(points) == 0:
        return ddf.new_zeros(0, dimensions)
    positions = points.T.to(ddf.dtype).reshape(1, dimensions, -1, *(1,) * (dimensions - 1))
    return sample(ddf, positions).reshape(dimensions, -1).T
