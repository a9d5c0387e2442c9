"""Voxel coordinates of a grid, and the one way to read values between voxels."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor


def identity_grid(
    spatial: Sequence[int], device: torch.device | str | None = None, dtype: torch.dtype = torch.float32
) -> Tensor:
    """(D, *spatial) coordinates of the voxel centres, in voxels, array-axis order."""
    axes = [torch.arange(side, device=device, dtype=dtype) for side in spatial]
    return torch.stack(torch.meshgrid(*axes, indexing="ij"))


def sample(values: Tensor, positions: Tensor, padding_mode: str = "border") -> Tensor:
    """Linear interpolation of ``values`` at ``positions``.

    Args:
        values: (B, C, *spatial).
        positions: (B, D, *any) voxels of ``values``, array-axis order; as many trailing axes as ``values``.
        padding_mode: "border" or "zeros", for positions outside.

    Returns:
        (B, C, *any).
    """
    size = torch.tensor(values.shape[2:], device=positions.device, dtype=positions.dtype)
    view = (1, -1) + (1,) * (positions.ndim - 2)
    # grid_sample with align_corners=False puts the centre of voxel i at (2 i + 1) / n - 1
    normal = (2 * positions + 1) / size.view(view) - 1
    grid = normal.flip(1).movedim(1, -1).to(values.dtype)
    return F.grid_sample(values, grid, mode="bilinear", padding_mode=padding_mode, align_corners=False)
