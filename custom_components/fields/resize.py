"""Fields and matrices on coarser or finer grids of the same field of view."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from custom_components.fields.compose import check_ddf


def grid_change(old: Sequence[float], new: Sequence[float]) -> npt.NDArray[np.float64]:
    """(D+1, D+1) matrix from voxels of a grid of size ``old`` (D,) to those of a grid of size ``new``.

    Both span one field of view, so that half-pixel correctly ``x_new + 1/2 = new / old * (x_old + 1/2)``. With G the
    result and A an affine in voxels of the old grid, ``G @ A @ inv(G)`` is the same affine in voxels of the new one.
    """
    factor = np.array(new) / np.array(old)
    matrix = np.diag([*factor, 1.0])
    matrix[:-1, -1] = 0.5 * factor - 0.5
    return matrix


def resize(ddf: Tensor, spatial: Sequence[int]) -> Tensor:
    """Resample a field to ``spatial`` voxels, half-pixel correct, its components in the new voxels.

    Args:
        ddf: (B, D, *old), voxels of the old grid.
        spatial: (D,) new size.

    Returns:
        (B, D, *spatial), voxels of the new grid; ``ddf`` itself where it has that size.
    """
    dimensions = check_ddf(ddf)
    if tuple(ddf.shape[2:]) == tuple(spatial):
        return ddf
    factor = torch.tensor(
        [new / old for new, old in zip(spatial, ddf.shape[2:], strict=True)],
        dtype=ddf.dtype,
        device=ddf.device,
    )
    mode = "bilinear" if dimensions == 2 else "trilinear"
    finer = F.interpolate(ddf, tuple(spatial), mode=mode, align_corners=False)
    return finer * factor.view(1, -1, *(1,) * dimensions)
