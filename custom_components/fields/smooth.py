"""Gaussian smoothing as products with small matrices, which is fast on a CPU and can be scripted."""

from __future__ import annotations

import torch
from torch import Tensor


def smooth(values: Tensor, sigma: float) -> Tensor:
    """Gaussian smoothing along every spatial axis; at the border the weights inside count alone.

    Args:
        values: (B, C, *spatial), a field or an image.
        sigma: standard deviation, voxels; 0 leaves the values as they are.

    Returns:
        (B, C, *spatial).
    """
    if sigma <= 0:
        return values
    for axis in range(2, values.dim()):
        place = torch.arange(values.size(axis), device=values.device, dtype=values.dtype)
        weights = torch.exp(-0.5 * ((place[:, None] - place[None]) / sigma) ** 2)
        weights = weights / weights.sum(dim=1, keepdim=True)
        values = torch.matmul(values.transpose(axis, -1), weights.t()).transpose(axis, -1)
    return values
