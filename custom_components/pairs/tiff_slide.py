"""A TIFF of any kind as a slide: OME-TIFF with channels on pages, Aperio's .svs, generic pyramids, flat images."""

from __future__ import annotations

import math
import os
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tifffile

from custom_components.common.arrays import Array
from custom_components.common.errors import InputError
from custom_components.common.limits import RATIO, WHOLE, check_size
from custom_components.pairs.closing import Closing
from custom_components.pairs.pixel_sizes import stated_pixel_size
from custom_components.pairs.reading import AS_STORED, Reading
from custom_components.pairs.tiff_complaints import refusing_damage
from custom_components.pairs.tiff_pages import DamagedTiles, LRUCache, Shape, TiffPageReader
from custom_components.pairs.tiff_series import choose_series, layout_of, page_choice
from custom_components.pairs.unreadable import naming_file


@dataclass(frozen=True)
class Orientation:
    """How an image is turned before it is shown, by TIFF's and EXIF's code.

    Attributes:
        code: 1 to 8; 1 is as stored.
    """

    code: int = 1

    @classmethod
    def of(cls, page: tifffile.TiffPage) -> Orientation:
        """Of a page; a code that is none counts as 1."""
        code = page.tags.valueof("Orientation", 1)
        return cls(int(code) if code in range(1, 9) else 1)

    @property
    def transposed(self) -> bool:
        """Whether rows become columns."""
        return self.code >= 5

    def shape(self, stored: Shape) -> Shape:
        """(height, width) as shown."""
        return (stored[1], stored[0]) if self.transposed else stored

    def stored(self, shown: Shape, row: int, column: int, height: int, width: int) -> tuple[int, int, int, int]:
        """The part of the stored image that becomes a part of the one shown, both (row, column, height, width)."""
        if self.code == 1:
            return row, column, height, width
        sides = shown
        if self.transposed:
            row, column, height, width, sides = column, row, width, height, (shown[1], shown[0])
        down, across = self._flipped_in_store()
        return (
            sides[0] - row - height if down else row, sides[1] - column - width if across else column, height, width
        )  # fmt: skip

    def _flipped_in_store(self) -> tuple[bool, bool]:
        """Whether the shown axis that a stored row, or column, becomes runs against it."""
        return {
            1: (False, False), 2: (False, True), 3: (True, True), 4: (True, False),
            5: (False, False), 6: (True, False), 7: (True, True), 8: (False, True),
        }[self.code]  # fmt: skip

    def shown(self, part: Array) -> Array:
        """(H, W, C) as stored -> as shown."""
        down, across = self._flipped_in_store()
        part = part[::-1] if down else part
        part = part[:, ::-1] if across else part
        return np.swapaxes(part, 0, 1) if self.transposed else part


class TiffSlide(Closing):
    """A TIFF through tifffile; see ``Slide``. Any number of threads may read at once.

    Args:
        path: of the file.
        reading: what the user says of it.
    """

    def __init__(self, path: Path, reading: Reading = AS_STORED) -> None:
        self.path = path
        # an OME-TIFF may name other files for its pages, by any path
        self._file = tifffile.TiffFile(path, _multifile=False)
        try:
            with refusing_damage(path):
                self._open(reading)
        except BaseException:
            self._file.close()
            raise

    def _open(self, reading: Reading) -> None:
        number, note = choose_series(self._file, reading.series)
        series = self._file.series[number]
        planes, axis = page_choice(series, reading, self.path)
        size, size_note = (None, "") if reading.pixel_size else stated_pixel_size(self._file, number)
        self.pixel_size = (reading.pixel_size,) * 2 if reading.pixel_size else size
        rows, columns = series.axes.index("Y"), series.axes.index("X")
        shapes = [(level.shape[rows], level.shape[columns]) for level in series.levels]
        self._turn = Orientation.of(series.keyframe)
        self.levels = [self._turn.shape(shape) for shape in shapes]
        page = series.keyframe
        by_regions = math.prod(shapes[0]) > WHOLE
        check_size(
            self.path, shapes[0], page.bitspersample / 8, int(page.samplesperpixel), self.path.stat().st_size,
            1.1 if page.compression == 1 else RATIO, by_regions,
        )  # fmt: skip
        self._damaged = DamagedTiles(self.path)
        self._descriptor = os.open(self.path, os.O_RDONLY)
        recent = LRUCache()  # blocks that are read one after the other share segments
        self._planes = [
            [[self._page(level, index, recent) for index in plane] for plane in planes.chosen]
            for level in series.levels
        ]
        first = self._planes[0][0]
        self.channels, self.dtype = sum(page.channels for page in first), first[0].dtype
        self.layout = layout_of(self._file, number, axis, self.channels)
        if self._turn.transposed and self.pixel_size is not None:
            self.pixel_size = self.pixel_size[::-1]
        turned = "turned as its orientation tag says" if self._turn.code != 1 else ""
        self._notes = tuple(text for text in (note, size_note, turned, self._others()) if text)

    def _others(self) -> str:
        """A sentence where the metadata say that pages lie in other files."""
        named = re.findall(r'FileName="([^"]*)"', self._file.ome_metadata or "") if self._file.is_ome else []
        others = sorted({name for name in named if name != self.path.name})
        said = f"{', '.join(others[:3])}{', ...' if len(others) > 3 else ''}"
        return f"{self.path.name} names further files for its pages ({said}), which are not read" if others else ""

    @property
    def notes(self) -> tuple[str, ...]:
        """See ``Slide``; of damaged tiles as far as they have been read."""
        return (*self._notes, *self._damaged.notes)

    def _page(self, level: tifffile.TiffPageSeries, index: int, recent: LRUCache) -> TiffPageReader:
        page = level.pages[index] if index < len(level.pages) else None
        if page is None:
            raise InputError(f"image {self.path} can't be read, it may be damaged or cut off: page {index} is missing")
        return TiffPageReader(page.aspage(), self._descriptor, recent, self._damaged)

    @naming_file
    def read(self, level: int, row: int, column: int, height: int, width: int) -> Array:
        """See ``Slide``."""
        box = self._turn.stored(self.levels[level], row, column, height, width)
        planes = [[page.read(*box) for page in plane] for plane in self._planes[level]]
        parts = [parts[0] if len(parts) == 1 else np.concatenate(parts, axis=2) for parts in planes]
        return self._turn.shown(parts[0] if len(parts) == 1 else np.max(parts, axis=0))

    def close(self) -> None:
        """See ``Slide``."""
        os.close(self._descriptor)
        self._file.close()
