"""From the image as read to the grid that the method works on, the way back remembered in one matrix.

``meta["index_to_physical"]`` of every image maps its array indices to physical coordinates; each step here multiplies
it, so the field's way to disk needs to know nothing of scaling and padding.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from custom_components.errors import InputError
from custom_components.fields import grid_change

Matrix = npt.NDArray[np.float64]
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
        working_size: longest side of the larger image on the working grid; one factor for all, so that the relative
            size of the sections is kept. Images are never enlarged.
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
        return [min(1.0, working_size / max(max(shape) for shape in shapes))] * len(shapes)
    if micrometres_per_pixel <= 0:
        raise InputError(f"micrometres_per_pixel must be positive, got {micrometres_per_pixel}")
    scales = []
    for size in pixel_sizes:
        if size is None:
            raise InputError("micrometres_per_pixel needs files that state their pixel size; give working_size instead")
        scales.append(min(1.0, float(np.mean(size)) / micrometres_per_pixel))
    return scales


def shrink(image: Tensor, matrix: Matrix, scale: float, mode: str = "area") -> tuple[Tensor, Matrix]:
    """Resample (C, *spatial) by ``scale`` <= 1, the field of view kept; returns the image and its index_to_physical.

    Args:
        image: float.
        matrix: (D+1, D+1) index_to_physical of ``image``.
        scale: new size over old size.
        mode: "area" averages, "nearest-exact" keeps masks.
    """
    shape = tuple(max(1, round(side * scale)) for side in image.shape[1:])
    if shape == tuple(image.shape[1:]):
        return image, matrix
    return F.interpolate(image[None], shape, mode=mode)[0], matrix @ grid_change(shape, image.shape[1:])


def pad_to(image: Tensor, matrix: Matrix, shape: tuple[int, ...]) -> tuple[Tensor, Matrix]:
    """Centre (C, *spatial) in ``shape`` with zeros around it; returns the image and its index_to_physical.

    Raises:
        InputError: the image is larger than ``shape``.
    """
    before: list[int] = []
    pads: list[int] = []
    for side, wanted in zip(image.shape[1:], shape, strict=True):
        if side > wanted:
            raise InputError(f"an image of {tuple(image.shape[1:])} does not fit into {shape}")
        before.append((wanted - side) // 2)
        pads = [before[-1], wanted - side - before[-1], *pads]  # the last axis comes first
    step = np.eye(len(shape) + 1)
    step[:-1, -1] = -np.array(before)
    return F.pad(image, pads), matrix @ step


def common_shape(shapes: Sequence[tuple[int, ...]], margin: int = 16, multiple: int = 32) -> tuple[int, ...]:
    """Smallest grid that holds every image with ``margin`` voxels around it and divides by ``multiple``.

    The margin keeps the field defined half a voxel beyond the image's rim, where full-resolution pixels still lie.
    """
    return tuple(-(-(max(sides) + 2 * margin) // multiple) * multiple for sides in zip(*shapes, strict=True))


def as_float(image: Tensor) -> Tensor:
    """float32 copy without the MetaTensor's bookkeeping."""
    return torch.as_tensor(image, dtype=torch.float32).clone()
