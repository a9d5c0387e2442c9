"""Warping images and composing fields."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from torch import Tensor

from custom_components.common.errors import InputError
from custom_components.fields.sampling import identity_grid, sample

if TYPE_CHECKING:
    from monai.networks.blocks.warp import Warp


def check_ddf(ddf: Tensor) -> int:
    """The number of spatial dimensions D of a field (B, D, *spatial).

    Raises:
        InputError: the tensor is no field of 2 or 3 dimensions.
    """
    dimensions = ddf.ndim - 2
    if dimensions not in (2, 3) or ddf.shape[1] != dimensions:
        raise InputError(f"a ddf is (B, 2, H, W) or (B, 3, D, H, W), got {tuple(ddf.shape)}")
    return dimensions


@lru_cache
def _warper(mode: str, padding_mode: str) -> Warp:
    """MONAI says which sampler it uses whenever it makes one; once is enough."""
    # here, as importing MONAI takes seconds and 0.3 GB, which those who only read fields need not pay
    from monai.networks.blocks.warp import Warp

    return Warp(mode=mode, padding_mode=padding_mode)


def warp(image: Tensor, ddf: Tensor, mode: str = "bilinear", padding_mode: str = "zeros") -> Tensor:
    """``warped(x) = image(x + ddf(x))`` with MONAI's ``Warp``.

    Args:
        image: (B, C, *spatial).
        ddf: (B, D, *spatial), voxels, fixed -> moving.
        mode: "bilinear" (linear in 3-D too), "nearest" or "bicubic".
        padding_mode: "zeros", "border" or "reflection".
    """
    check_ddf(ddf)
    warped: Tensor = _warper(mode, padding_mode)(image, ddf.to(image.dtype))
    return warped


def compose(first: Tensor, second: Tensor) -> Tensor:
    """One field for two warps, ``warp(warp(I, first), second) == warp(I, result)``.

    ``result(x) = second(x) + first(x + second(x))``; beyond its border ``first`` keeps its border value.

    Args:
        first: (B, D, *spatial), voxels, applied to the image first.
        second: (B, D, *spatial), voxels, applied to the result.
    """
    dimensions = check_ddf(second)
    check_ddf(first)
    positions = identity_grid(second.shape[-dimensions:], second.device, second.dtype) + second
    return second + sample(first.to(second.dtype), positions)
