"""Warping inside a network, in a form that scripts and exports, which MONAI's ``Warp`` is not."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def warp(image: Tensor, ddf: Tensor) -> Tensor:
    """``image(x + ddf(x))``, linear between voxels; beyond the border its values go on. At least single precision.

    Args:
        image: (B, C, *spatial).
        ddf: (B, D, *spatial), voxels.
    """
    if ddf.dtype != torch.float64:
        ddf = ddf.float()  # half precision knows places of hundreds of voxels to half a voxel at best
    sides = [ddf.size(axis) for axis in range(2, ddf.dim())]
    axes = [torch.arange(side, dtype=ddf.dtype, device=ddf.device) for side in sides]
    positions = torch.stack(torch.meshgrid(axes, indexing="ij"))[None] + ddf
    size = torch.tensor(sides, dtype=ddf.dtype, device=ddf.device).view([1, -1] + [1] * len(sides))
    # grid_sample's units: the centre of voxel i lies at (2 i + 1) / side - 1, the last axis comes first
    grid = ((2 * positions + 1) / size - 1).flip(1).movedim(1, -1)
    return F.grid_sample(image.to(ddf.dtype), grid, padding_mode="border", align_corners=False)
