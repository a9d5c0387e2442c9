"""End-point error of a displacement field against a known one."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from custom_components.common.errors import InputError


class EndPointLoss(nn.Module):
    """Weighted mean length of the difference between two fields, smooth at zero.

    Args:
        smooth: voxels; below this the loss is quadratic (Charbonnier).

    Raises:
        InputError: ``smooth`` is not positive; the gradient at equal fields would not be finite.
    """

    def __init__(self, smooth: float = 0.1) -> None:
        super().__init__()
        if not smooth > 0:
            raise InputError(f"smooth is a positive number of voxels, got {smooth}")
        self.smooth = smooth

    def forward(self, ddf: Tensor, label: Tensor) -> Tensor:
        """Scalar, voxels; 0 for equal fields, and where all weights are 0.

        Args:
            ddf: (B, D, *spatial), voxels.
            label: (B, D+1, *spatial): the known ddf and, in the last channel, the weight in 0..1.
        """
        known, weight = label[:, :-1], label[:, -1:]
        squared = (ddf - known).square().sum(dim=1, keepdim=True)
        error = torch.sqrt(squared + self.smooth**2) - self.smooth
        return (error * weight).sum() / weight.sum().clamp_min(1e-6)
