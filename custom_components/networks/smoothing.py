"""Gaussian smoothing of fields as products with small matrices, which is fast on a CPU and can be scripted."""

from __future__ import annotations

import torch
from torch import Tensor


def smooth(field: Tensor, sigma: float) -> Tensor:
    """Gaussian smoothing along every spatial axis; at the border the weights inside count alone.

    Args:
        field: (B, C, *spatial).
        sigma: standard deviation, voxels; 0 leaves the field as it is.

    Returns:
        (B, C, *spatial).
    """
    if sigma <= 0:
        return field
    for axis in range(2, field.dim()):
        place = torch.arange(field.size(axis), device=field.device, dtype=field.dtype)
        weights = torch.exp(-0.5 * ((place[:, None] - place[None]) / sigma) ** 2)
        weights = weights / weights.sum(dim=1, keepdim=True)
        field = torch.matmul(field.transpose(axis, -1), weights.t()).transpose(axis, -1)
    return field
