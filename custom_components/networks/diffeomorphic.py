"""A network's output as a velocity instead of a displacement."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Diffeomorphic(nn.Module):
    """Integrates the stationary velocity field that a network returns, by scaling and squaring.

    MONAI's ``DVF2DDF`` does the same, but neither scripts nor exports.

    Args:
        network: image -> (B, D, *spatial), voxels a unit of time.
        steps: the first step is ``2**-steps`` of the time.
    """

    def __init__(self, network: nn.Module, steps: int = 7) -> None:
        super().__init__()
        self.network = network
        self.steps = steps

    def forward(self, image: Tensor) -> Tensor:
        """(B, D, *spatial), voxels, fixed -> moving."""
        ddf: Tensor = self.network(image) / 2.0**self.steps
        dimensions = ddf.size(1)
        # grid_sample's units: a voxel is 2 / side, the last axis comes first
        voxels = torch.tensor([2.0 / ddf.size(2 + axis) for axis in range(dimensions - 1, -1, -1)]).to(ddf)
        identity = torch.eye(dimensions, dimensions + 1, dtype=ddf.dtype, device=ddf.device)[None]
        grid = F.affine_grid(identity.expand(ddf.size(0), -1, -1), list(ddf.size()), align_corners=False)
        for _ in range(self.steps):
            positions = grid + ddf.flip(1).movedim(1, -1) * voxels
            ddf = ddf + F.grid_sample(ddf, positions, padding_mode="border", align_corners=False)
        return ddf
