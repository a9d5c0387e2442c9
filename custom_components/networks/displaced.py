"""Warping inside a network, in a form that scripts and exports, which MONAI's ``Warp`` is not."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def displaced(image: Tensor, ddf: Tensor) -> Tensor:
    """``image(x + ddf(x))``, linear between voxels; beyond the border its values go on.

    Args:
        image: (B, C, *spatial).
        ddf: (B, D, *spatial), voxels.
    """
    dimensions = ddf.size(1)
    # grid_sample's units: a voxel is 2 / side, the last axis comes first
    voxels = torch.tensor([2.0 / ddf.size(2 + axis) for axis in range(dimensions - 1, -1, -1)]).to(ddf)
    identity = torch.eye(dimensions, dimensions + 1, dtype=ddf.dtype, device=ddf.device)[None]
    grid = F.affine_grid(identity.expand(ddf.size(0), -1, -1), list(ddf.size()), align_corners=False)
    positions = grid + ddf.flip(1).movedim(1, -1) * voxels
    return F.grid_sample(image, positions, padding_mode="border", align_corners=False)
