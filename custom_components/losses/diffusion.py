"""Smoothness of a displacement field."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from custom_components.fields.compose import check_ddf


class ForwardDiffusionLoss(nn.Module):
    """Mean over components and voxels of the squared forward differences, averaged over the axes; 0 at the far border.

    Source: Czolbe et al., "DeepSim", public code; the weights that the source gives for its losses belong to this.
    MONAI's ``DiffusionLoss`` sums over the axes and takes central differences.
    """

    def forward(self, ddf: Tensor) -> Tensor:
        """Scalar, squared voxels a voxel, of ``ddf`` (B, D, *spatial) in voxels."""
        dimensions = check_ddf(ddf)
        count = ddf.numel()
        sums = [ddf.diff(dim=axis).square().sum() / count for axis in range(2, 2 + dimensions)]
        return torch.stack(sums).mean()
