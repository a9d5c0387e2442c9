"""What microscopes' own forms have in common as slides: whole frames without a pyramid, read as they are asked for."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from custom_components.common.arrays import Array
from custom_components.common.errors import InputError
from custom_components.pairs.closing import Closing
from custom_components.pairs.formats import PixelSize
from custom_components.pairs.layout import Layout
from custom_components.pairs.reading import series_number
from custom_components.pairs.tiff_pages import Shape
from custom_components.pairs.unreadable import naming_file


class FrameSlide(Closing):
    """Planes of whole frames, of which several are put together by the maximum; see ``Slide``."""

    path: Path
    levels: list[Shape]
    channels: int
    dtype: np.dtype[Any]
    pixel_size: PixelSize | None
    layout: Layout
    notes: tuple[str, ...] = ()
    _planes: Sequence[Mapping[str, int]]

    @abstractmethod
    def _part(self, plane: Mapping[str, int], place: tuple[slice, slice]) -> Array:
        """A copy of (rows, columns, channels) of a plane, which is given by its index along each axis."""

    @naming_file
    def read(self, level: int, row: int, column: int, height: int, width: int) -> Array:
        """See ``Slide``."""
        place = slice(row, row + height), slice(column, column + width)
        part = self._part(self._planes[0], place)
        for plane in self._planes[1:]:
            np.maximum(part, self._part(plane, place), out=part)
        return part


def chosen_series(path: Path, names: Sequence[str], pixels: Sequence[int], wanted: str | int | None) -> tuple[int, str]:
    """The number of the image to read of a file with several, by default the largest, and a note of the others.

    Args:
        path: of the file, for messages.
        names: of its images.
        pixels: of each.
        wanted: name or number from 0 that the user gives, or None.

    Raises:
        InputError: there is no such image, or none at all.
    """
    if not names:
        raise InputError(f"image {path} holds no image with rows and columns")
    there = ", ".join(f"{number} '{name}'" for number, name in enumerate(names))
    if wanted is not None:
        number = series_number(names, wanted)
        if number is None:
            raise InputError(f"image {path} has no series '{wanted}'; it has {there}")
        return number, ""
    best = max(range(len(names)), key=lambda number: pixels[number])
    return best, f"series {best} '{names[best]}' of {len(names)} is read ({there})" if len(names) > 1 else ""
