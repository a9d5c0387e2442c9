"""From the image as read to the size that the method works on; ``fields.Grid`` remembers the way back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from custom_components.common.errors import InputError

LEAST = {2: 64, 3: 32}  # voxels of a working image's longest side, by its dimensions


def working_scale(
    shapes: Sequence[tuple[int, ...]],
    pixel_sizes: Sequence[tuple[float, ...] | None],
    working_size: int | None,
    micrometres_per_pixel: float | None,
) -> list[float]:
    """Factor (<= 1) by which each image of a pair is shrunk.

    Args:
        shapes: spatial shapes of the images.
        pixel_sizes: micrometres, per image, or None where the file does not say.
        working_size: longest side of the larger image on the working grid. Where all files state their pixel size, the
            factors bring them to one pixel size; otherwise one factor is for all, so that the relative size of the
            sections is kept. Images are never enlarged.
        micrometres_per_pixel: instead, the pixel size of the working grid; needs the pixel size of every file.

    Raises:
        InputError: both or neither are given, or a pixel size is needed and unknown.
    """
    if (working_size is None) == (micrometres_per_pixel is None):
        raise InputError(
            "give either working_size (pixels) or micrometres_per_pixel, "
            f"got {working_size} and {micrometres_per_pixel}"
        )
    if micrometres_per_pixel is None:
        assert working_size is not None
        least = LEAST[len(shapes[0])]
        if working_size < least:
            raise InputError(f"working_size is {working_size} voxels; below {least} nothing can be matched")
        if len(shapes[0]) == 2 and all(size is not None for size in pixel_sizes):
            known = [np.asarray(size, dtype=np.float64) for size in pixel_sizes if size is not None]
            extents = [float(np.max(np.multiply(shape, size))) for shape, size in zip(shapes, known, strict=True)]
            coarsest = max(max(extents) / working_size, *(float(size.max()) for size in known))
            return [min(1.0, float(size.max()) / coarsest) for size in known]
        return [min(1.0, working_size / max(max(shape) for shape in shapes))] * len(shapes)
    if micrometres_per_pixel <= 0:
        raise InputError(f"micrometres_per_pixel must be positive, got {micrometres_per_pixel}")
    scales = []
    for size in pixel_sizes:
        if size is None:
            raise InputError("micrometres_per_pixel needs files that state their pixel size; give working_size instead")
        scales.append(min(1.0, float(np.max(size)) / micrometres_per_pixel))
    return scales


def shrink(image: Tensor, scale: float | Sequence[float], mode: str = "area") -> Tensor:
    """Resample (C, *spatial) by ``scale`` <= 1, the field of view kept, as ``Grid.shrunk`` does.

    Args:
        image: float.
        scale: new size over old size, one or one an axis.
        mode: "area" averages, "nearest-exact" keeps masks.
    """
    scales = np.broadcast_to(np.asarray(scale, dtype=np.float64), (image.ndim - 1,))
    shape = tuple(max(1, round(side * float(s))) for side, s in zip(image.shape[1:], scales, strict=True))
    return image if shape == tuple(image.shape[1:]) else F.interpolate(image[None], shape, mode=mode)[0]


def pad_to(image: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Centre (C, *spatial) in ``shape`` with zeros around it, as ``Grid.padded`` does.

    Raises:
        InputError: the image is larger than ``shape``.
    """
    pads: list[int] = []
    for side, wanted in zip(image.shape[1:], shape, strict=True):
        if side > wanted:
            raise InputError(f"an image of {tuple(image.shape[1:])} does not fit into {shape}")
        before = (wanted - side) // 2
        pads = [before, wanted - side - before, *pads]  # the last axis comes first
    return F.pad(image, pads)


def common_shape(shapes: Sequence[tuple[int, ...]], margin: int = 16, multiple: int = 32) -> tuple[int, ...]:
    """Smallest grid that holds every image with ``margin`` voxels around it and divides by ``multiple``.

    The margin keeps the field defined half a voxel beyond the image's rim, where full-resolution pixels still lie.
    """
    return tuple(-(-(max(sides) + 2 * margin) // multiple) * multiple for sides in zip(*shapes, strict=True))


def as_float(image: Tensor) -> Tensor:
    """float32 copy without the MetaTensor's bookkeeping."""
    return torch.as_tensor(image, dtype=torch.float32).clone()


def to_tensor(array: np.ndarray[Any, Any]) -> Tensor:
    """(*spatial) as a float32 image (1, *spatial)."""
    return torch.from_numpy(np.ascontiguousarray(array[None], dtype=np.float32))
