"""The pages of a TIFF, decoded tile by tile or strip by strip, as a viewer shows their pixels."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import tifffile

from custom_components.common.arrays import Array
from custom_components.common.errors import InputError
from custom_components.common.limits import check_size, current
from custom_components.pairs.formats import UNREADABLE, first_line

Shape = tuple[int, int]
PHOTOMETRIC = tifffile.PHOTOMETRIC
COLOURED = (PHOTOMETRIC.RGB, PHOTOMETRIC.YCBCR)
ALPHA = ((1,), (2,))  # what ``ExtraSamples`` says of a last channel that is alpha; one of no stated kind is data


class LRUCache:
    """The arrays that were asked for last, as far as they fit into ``room`` bytes. Safe in threads."""

    def __init__(self, room: float = 24e6) -> None:
        self.left = room
        self._kept: OrderedDict[Any, Array] = OrderedDict()
        self._lock = Lock()

    def get(self, key: Any, make: Callable[[], Array | None]) -> Array | None:
        """The array of ``key``, made if it is not there; two threads may make it both."""
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        made = make()
        if made is not None:
            with self._lock:
                if key not in self._kept:
                    self._kept[key] = made
                    self.left -= made.nbytes
                while self.left < 0 and len(self._kept) > 1:
                    self.left += self._kept.popitem(last=False)[1].nbytes
        return made


class DamagedTiles:
    """Which tiles or strips of a file could not be decoded, so that they were filled.

    Args:
        file: for messages.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self.filled: set[tuple[int, int]] = set()

    @property
    def notes(self) -> tuple[str, ...]:
        """A sentence, where there are any."""
        count = len(self.filled)
        tiles = "1 damaged tile is" if count == 1 else f"{count} damaged tiles are"
        return (f"{self.file.name}: {tiles} filled",) if count else ()

    def told(self, page: TiffPageReader, index: int, error: Exception) -> None:
        """Note a tile that will be filled, where the user allows that.

        Raises:
            InputError: with its place and why it can't be read.
        """
        if current().fill_damaged:
            self.filled.add((id(page), index))
            return
        (rows, columns), across = page.segment, -(-page.shape[1] // page.segment[1])
        row, column = divmod(index % (across * -(-page.shape[0] // rows)), across)
        place = f"rows {row * rows} to {min((row + 1) * rows, page.shape[0]) - 1}"
        place += f", columns {column * columns} to {min((column + 1) * columns, page.shape[1]) - 1}"
        said = first_line(error) if str(error) else type(error).__name__
        raise InputError(
            f"image {self.file} can't be read, it may be damaged or cut off: {place} of {page.shape[1]} x "
            f"{page.shape[0]} pixels ({said}); --fill_damaged true reads the rest"
        ) from error


class TiffPageReader:
    """One page of a TIFF, decoded segment by segment; a page without compression is mapped into memory.

    Palettes, inverted grey, single bits, CMYK and alpha (on white) are resolved: pixels come as a viewer shows them.
    """

    def __init__(
        self, page: tifffile.TiffPage, descriptor: int, recent: LRUCache, damaged: DamagedTiles | None = None
    ) -> None:
        self.damaged = damaged or DamagedTiles(Path(page.parent.filehandle.path))
        self.page = page
        self.descriptor = descriptor
        self.recent = recent
        self.shape: Shape = (page.imagelength, page.imagewidth)
        self.samples = int(page.samplesperpixel)
        self.separate = page.planarconfig == 2 and self.samples > 1
        self.segment: Shape = (
            (page.tilelength, page.tilewidth) if page.is_tiled else (page.rowsperstrip, page.imagewidth)
        )
        if page.dtype is None:
            raise ValueError(f"pixels of {page.bitspersample} bits")
        if min(self.segment) < 1:
            raise ValueError(f"tiles of {self.segment[1]} x {self.segment[0]} pixels")
        # tiles and strips are decoded as a whole; strips may be said to be longer than the image
        decoded = self.segment if page.is_tiled else (min(self.segment[0], self.shape[0]), self.segment[1])
        check_size(self.damaged.file, decoded, page.dtype.itemsize, 1 if self.separate else self.samples)
        self.mapped = page.asarray(out="memmap") if page.is_memmappable else None
        self.alpha = tuple(page.extrasamples) in ALPHA and self.samples in (2, 4)
        shown = self._shown(np.zeros((1, 1, self.samples), dtype=page.dtype))
        self.channels, self.dtype = shown.shape[2], shown.dtype

    def read(self, row: int, column: int, height: int, width: int) -> Array:
        """(height, width, channels) from a first pixel on."""
        return self._shown(self._stored(row, column, height, width))

    def _shown(self, part: Array) -> Array:
        """Stored pixels (H, W, samples) as they are shown, in the machine's byte order."""
        part = part.astype(part.dtype.newbyteorder("="), copy=False)
        photometric = self.page.photometric
        if photometric == PHOTOMETRIC.PALETTE and self.page.colormap is not None:
            colours: Array = np.moveaxis(np.asarray(self.page.colormap), 0, -1)  # 16 bit, though most tables hold 8
            colours = colours >> 8 if colours.max() > 255 else colours
            return np.asarray(colours[np.minimum(part[..., 0], len(colours) - 1)].astype(np.uint8))
        if photometric == PHOTOMETRIC.MINISWHITE and part.dtype.kind in "bu":
            part = ~part
        if part.dtype == bool:
            return part.astype(np.uint8) * 255
        if photometric == PHOTOMETRIC.SEPARATED and self.samples == 4 and part.dtype == np.uint8:
            ink = 255 - part.astype(np.uint16)
            return np.asarray(((ink[..., :3] * ink[..., 3:] + 127) // 255).astype(np.uint8))
        return blend_alpha(part) if self.alpha else part

    def _stored(self, row: int, column: int, height: int, width: int) -> Array:
        if self.mapped is not None:
            window = (slice(row, row + height), slice(column, column + width))
            if self.separate:
                return np.moveaxis(self.mapped[:, *window], 0, -1)
            part = np.asarray(self.mapped[window])
            return part if part.ndim == 3 else part[..., None]
        rows, columns = self.segment
        across, down = -(-self.shape[1] // columns), -(-self.shape[0] // rows)
        result = np.zeros((height, width, self.samples), dtype=self.page.dtype)
        for i in range(row // rows, (row + height - 1) // rows + 1):
            for j in range(column // columns, (column + width - 1) // columns + 1):
                top, left = i * rows, j * columns
                place = np.s_[max(top - row, 0) : top + rows - row, max(left - column, 0) : left + columns - column]
                cut = np.s_[max(row - top, 0) : row + height - top, max(column - left, 0) : column + width - left]
                if self.separate:
                    for sample in range(self.samples):
                        segment = self._decoded(sample * across * down + i * across + j)
                        if segment is not None:
                            self._put(result[..., sample : sample + 1], place, segment, cut)
                else:
                    segment = self._decoded(i * across + j)
                    if segment is not None:
                        self._put(result, place, segment, cut)
        return result

    @staticmethod
    def _put(result: Array, place: Any, segment: Array, cut: Any) -> None:
        part = segment[cut]
        target = result[place]
        target[: part.shape[0], : part.shape[1]] = part[: target.shape[0], : target.shape[1]]

    def _decoded(self, index: int) -> Array | None:
        """A segment (rows, columns, samples); None where the file left it out, which is black."""
        return self.recent.get((id(self), index), lambda: self._decode(index))

    def _decode(self, index: int) -> Array | None:
        count = self.page.databytecounts[index]
        if count == 0:
            return None
        data = os.pread(self.descriptor, count, self.page.dataoffsets[index])  # at a place of its own: threads read
        try:
            if len(data) < count:
                raise EOFError(f"{count - len(data)} bytes are missing")
            segment, _, _ = self.page.decode(data, index, jpegtables=self.page.jpegtables)
        except UNREADABLE as error:
            self.damaged.told(self, index, error)
            return self._filled()
        return None if segment is None else np.asarray(segment[0])

    def _filled(self) -> Array:
        """In place of a damaged segment (rows, columns, samples): white in colour, else black."""
        samples = 1 if self.separate else self.samples
        white = self.page.photometric in COLOURED and self.page.dtype == np.uint8
        return np.full((*self.segment, samples), 255 if white else 0, dtype=self.page.dtype)


def blend_alpha(part: Array) -> Array:
    """(..., C) with alpha as the last channel -> (..., C - 1), on white."""
    whole = np.issubdtype(part.dtype, np.integer)
    top = float(np.iinfo(part.dtype).max) if whole else 1.0
    alpha = part[..., -1:].astype(np.float32) / top
    blended = part[..., :-1] * alpha + top * (1 - alpha)
    return np.asarray((blended.round() if whole else blended).astype(part.dtype))
