"""What the losses share: checking a pair, leaving out a margin, averaging under a mask."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from custom_components.common.errors import InputError


def check_shapes(warped: Tensor, fixed: Tensor, mask: Tensor | None = None) -> int:
    """The number of spatial dimensions D of a pair.

    Args:
        warped: (B, 1, *spatial).
        fixed: (B, 1, *spatial).
        mask: (B, 1, *spatial) or None.

    Raises:
        InputError: the shapes are not these or differ.
    """
    dimensions = fixed.ndim - 2
    if dimensions not in (2, 3) or fixed.shape[1] != 1:
        raise InputError(f"an image is (B, 1, H, W) or (B, 1, D, H, W), got {tuple(fixed.shape)}")
    for name, tensor in (("warped", warped), ("mask", mask)):
        if tensor is not None and tensor.shape != fixed.shape:
            raise InputError(f"{name} has the shape {tuple(tensor.shape)}, fixed {tuple(fixed.shape)}")
    return dimensions


def crop_margin(values: Tensor, margin: int) -> Tensor:
    """``values`` (B, C, *spatial) without the outer ``margin`` voxels."""
    return F.pad(values, (-margin,) * 2 * (values.ndim - 2))


def weighted_mean(values: Tensor, mask: Tensor | None) -> Tensor:
    """Mean of finite ``values`` weighted by ``mask``, a scalar; 0, still with a gradient, where all weights are zero.

    Args:
        values: (B, 1, *spatial).
        mask: the same shape, weights in 0..1; None takes all alike.
    """
    if mask is None:
        return values.mean()
    total = mask.sum()
    return (values * mask).sum() / total.where(total > 0, 1.0)
