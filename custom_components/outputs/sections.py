"""The report's pictures of volumes: three sections through the middle, side by side."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from custom_components.common.arrays import Array
from custom_components.outputs.pictures import RGB

GAP = 8  # white pixels between the sections


def sections(volume: Array) -> list[Array]:
    """(C, D, H, W) -> (C, H, W), (C, D, W) and (C, D, H) through the middle, the first axis pointing up."""
    depth, height, width = (side // 2 for side in volume.shape[1:])
    return [volume[:, depth], volume[:, ::-1, height], volume[:, ::-1, :, width]]


def in_plane(displacement: Array) -> list[Array]:
    """(3, D, H, W) voxels -> the two components of each section that lie in it, (2, h, w) rows, columns.

    The sections that show the first axis show it upside down, so its component changes its sign.
    """
    axial, coronal, sagittal = sections(displacement)
    return [axial[1:], coronal[[0, 2]] * [[[-1]], [[1]]], sagittal[[0, 1]] * [[[-1]], [[1]]]]


def side_by_side(pictures: Sequence[RGB]) -> RGB:
    """Pictures in a row on white, their middles on one line."""
    height = max(picture.shape[0] for picture in pictures)
    columns: list[RGB] = []
    for picture in pictures:
        above = (height - picture.shape[0]) // 2
        rows = (above, height - picture.shape[0] - above)
        columns.append(np.pad(picture, (rows, (0, GAP), (0, 0)), constant_values=255))
    return np.ascontiguousarray(np.concatenate(columns, axis=1)[:, :-GAP])


def drawn(draw: Callable[..., RGB], *volumes: Sequence[Array]) -> RGB:
    """One picture a section, of what each of ``volumes`` shows in it."""
    return side_by_side([draw(*parts) for parts in zip(*volumes, strict=True)])
