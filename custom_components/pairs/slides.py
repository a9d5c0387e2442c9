"""Large images read region by region: pyramidal slides, of which only what is needed is ever in memory.

TIFF of any kind (OME-TIFF with channels on pages, Aperio's .svs, generic pyramids) is decoded by tifffile, tile by
tile; the forms of other scanners (.ndpi, .mrxs, .scn, .bif, .vms) by OpenSlide through MONAI's ``WSIReader``.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Lock
from types import TracebackType
from typing import Any, Protocol

import cv2
import numpy as np
import openslide
import tifffile

from custom_components.common.arrays import Array
from custom_components.common.errors import InputError
from custom_components.fields.grid import Grid
from custom_components.pairs.formats import (
    TIFF,
    UNREADABLE,
    PixelSize,
    first_line,
    fits,
    full_suffix,
    stated_pixel_size,
)

Shape = tuple[int, int]
SLIDES = (".svs", ".ndpi", ".mrxs", ".scn", ".bif", ".vms", ".vmu")
RESIZED = ("uint8", "uint16", "int16", "float32", "float64")  # what OpenCV averages
LARGE = 1 << 25  # pixels; what is smaller is registered and written as a whole
CHANNELS = "CSQIZT"  # axes of TIFF series that can hold channels; S are samples of a pixel, Z and T of stacks


class Slide(Protocol):
    """An open slide; use it in a ``with`` statement.

    Attributes:
        path: of the file.
        levels: (height, width) of each level, largest first.
        channels: of a pixel.
        dtype: of a pixel's channel.
        pixel_size: (row, col) micrometres at level 0, or None where the file does not say.
    """

    path: Path
    levels: list[Shape]
    channels: int
    dtype: np.dtype[Any]
    pixel_size: PixelSize | None

    def read(self, level: int, row: int, column: int, height: int, width: int) -> Array:
        """(height, width, channels) of a level from a first pixel on; all of it must lie in the level."""

    def close(self) -> None:
        """Give the file back."""

    def __enter__(self) -> Slide: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class _Closing(ABC):
    """Closed where a ``with`` statement ends."""

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @abstractmethod
    def close(self) -> None:
        """Give the file back."""


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


class TiffPageReader:
    """One page of a TIFF, decoded segment by segment; a page without compression is mapped into memory."""

    def __init__(self, page: tifffile.TiffPage, descriptor: int, recent: LRUCache) -> None:
        self.page = page
        self.descriptor = descriptor
        self.recent = recent
        self.shape: Shape = (page.imagelength, page.imagewidth)
        self.samples = int(page.samplesperpixel)
        self.separate = page.planarconfig == 2 and self.samples > 1
        self.segment: Shape = (
            (page.tilelength, page.tilewidth) if page.is_tiled else (page.rowsperstrip, page.imagewidth)
        )
        self.mapped = page.asarray(out="memmap") if page.is_memmappable else None

    def read(self, row: int, column: int, height: int, width: int) -> Array:
        """(height, width, samples) from a first pixel on."""
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
        if len(data) < count:
            raise InputError(f"image {self.page.parent.filehandle.path} ends early, {count - len(data)} bytes missing")
        segment, _, _ = self.page.decode(data, index, jpegtables=self.page.jpegtables)
        return None if segment is None else np.asarray(segment[0])


class TiffSlide(_Closing):
    """A TIFF through tifffile; see ``Slide``. Any number of threads may read at once."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = tifffile.TiffFile(path)
        series = self._file.series[0]
        axes, shape = series.axes, series.shape
        names = [a for a, n in zip(axes, shape, strict=True) if a not in "YX" and n > 1]
        if "Y" not in axes or "X" not in axes or len(names) > 1 or any(name not in CHANNELS for name in names):
            self._file.close()
            raise InputError(f"image {path} has axes {axes} of {shape}; a slide has rows, columns and one channel axis")
        self.levels = [(level.shape[axes.index("Y")], level.shape[axes.index("X")]) for level in series.levels]
        self.channels = shape[axes.index(names[0])] if names else 1
        self.dtype = np.dtype(series.dtype)
        self.pixel_size = stated_pixel_size(self._file)
        self._descriptor = os.open(path, os.O_RDONLY)
        recent = LRUCache()  # blocks that are read one after the other share segments
        self._planes = [
            [TiffPageReader(page.aspage(), self._descriptor, recent) for page in level.pages if page is not None]
            for level in series.levels
        ]

    def read(self, level: int, row: int, column: int, height: int, width: int) -> Array:
        """See ``Slide``."""
        parts = [plane.read(row, column, height, width) for plane in self._planes[level]]
        return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=2)

    def close(self) -> None:
        """See ``Slide``."""
        os.close(self._descriptor)
        self._file.close()


class ScannerSlide(_Closing):
    """What OpenSlide reads, through MONAI's ``WSIReader``; see ``Slide``. Alpha is laid onto white."""

    channels = 3
    dtype = np.dtype(np.uint8)

    def __init__(self, path: Path) -> None:
        # here, as importing MONAI takes seconds and 0.3 GB, which other slides need not
        from monai.data import WSIReader

        self.path = path
        self._reader = WSIReader(backend="openslide")
        self._slide = self._reader.read(str(path))
        self.levels: list[Shape] = [(height, width) for width, height in self._slide.level_dimensions]
        try:
            rows, columns = (float(self._slide.properties[f"openslide.mpp-{axis}"]) for axis in "yx")
        except (KeyError, ValueError):
            rows = columns = 0.0
        self.pixel_size: PixelSize | None = (rows, columns) if 0 < min(rows, columns) and fits(rows, columns) else None

    def read(self, level: int, row: int, column: int, height: int, width: int) -> Array:
        """See ``Slide``."""
        # OpenSlide counts the place at level 0 and divides by one number for rows and columns
        factor = self._slide.level_downsamples[level]
        place = (round(row * factor), round(column * factor))
        part, _ = self._reader.get_data(self._slide, location=place, size=(height, width), level=level, mode="RGBA")
        rgba = np.moveaxis(part, 0, -1).astype(np.uint16)
        alpha = rgba[..., 3:]
        return np.asarray(((rgba[..., :3] * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8))

    def close(self) -> None:
        """See ``Slide``."""
        self._slide.close()


class ArraySlide(_Closing):
    """An image that is in memory as a whole; see ``Slide``.

    Args:
        path: of the file that it was read from.
        array: (H, W, channels).
        pixel_size: (row, col) micrometres, or None.
    """

    def __init__(self, path: Path, array: Array, pixel_size: PixelSize | None = None) -> None:
        self.path = path
        self.levels: list[Shape] = [(array.shape[0], array.shape[1])]
        self.channels = array.shape[2]
        self.dtype = array.dtype
        self.pixel_size = pixel_size
        self._array = array

    def read(self, level: int, row: int, column: int, height: int, width: int) -> Array:
        """See ``Slide``."""
        return self._array[row : row + height, column : column + width]

    def close(self) -> None:
        """See ``Slide``."""


def open_slide(path: str | Path) -> Slide:
    """Open an image whose regions can be read by themselves.

    Raises:
        InputError: there is no such file, it can't be read, or its form has no regions (PNG, JPEG, NIfTI).
    """
    file = Path(path)
    if not file.is_file():
        raise InputError(f"image {file} does not exist")
    suffix = full_suffix(file)
    try:
        if suffix in TIFF or suffix == ".svs":
            return TiffSlide(file)
        if suffix in SLIDES:
            plain = openslide.OpenSlide.detect_format(str(file)) == "generic-tiff"  # under a scanner's suffix
            return TiffSlide(file) if plain else ScannerSlide(file)
    except InputError:
        raise
    except (*UNREADABLE, openslide.OpenSlideError) as error:
        raise InputError(f"image {file} can't be read, it may be damaged or cut off: {first_line(error)}") from error
    known = ", ".join((*TIFF, *SLIDES))
    raise InputError(f"image {file}: '{suffix}' has no regions to read one by one; convert it to one of {known}")


def is_large(path: str | Path) -> bool:
    """Whether a file is a slide, or a TIFF of more than ``LARGE`` pixels."""
    suffix = full_suffix(path)
    if suffix not in TIFF:
        return suffix in SLIDES
    with open_slide(path) as slide:
        return slide.levels[0][0] * slide.levels[0][1] > LARGE


def level_for(levels: Sequence[Shape], longest: float) -> int:
    """The smallest level whose longest side is at least ``longest`` pixels; the largest if none is."""
    enough = [k for k, shape in enumerate(levels) if max(shape) >= longest]
    return enough[-1] if enough else 0


def read_shrunk(slide: Slide, longest: float, grid: Grid, block: int = 2048) -> tuple[Array, Grid]:
    """A whole slide, in memory bounded by the result and ``block``.

    The level nearest above ``longest`` is read; where that is still more than twice as large, its pixels are averaged
    in squares while they are read.

    Args:
        slide: open.
        longest: pixels of the longest side that the result has at least, or the slide's own if that is less.
        grid: of level 0.
        block: side of what is read at once, pixels.

    Returns:
        (H, W, channels), and its grid.
    """
    level = level_for(slide.levels, longest)
    height, width = slide.levels[level]
    factor = max(1, int(max(height, width) // max(longest, 1)))
    result = read_block_mean(slide, level, factor, 0, 0, height, width, block)
    return result, grid.level(slide.levels[level]).averaged(factor)


def read_strided(slide: Slide, factor: int, block: int = 2048) -> Array:
    """Every ``factor``-th pixel of level 0 as ``Grid.strided`` places them, for label maps: nothing is averaged.

    Returns:
        (H, W, channels).
    """
    height, width = slide.levels[0]
    first, step = (factor - 1) // 2, max(block // factor, 1) * factor
    rows = []
    for down in range(0, height, step):
        parts = [
            slide.read(0, down, right, min(step, height - down), min(step, width - right))[first::factor, first::factor]
            for right in range(0, width, step)
        ]
        rows.append(np.concatenate(parts, axis=1))
    return np.concatenate(rows)


def read_block_mean(
    slide: Slide, level: int, factor: int, row: int, column: int, height: int, width: int, block: int = 2048
) -> Array:
    """A region of a level, averaged in squares while it is read.

    Args:
        slide: open.
        level: that is read.
        factor: side of the squares, pixels of the level.
        row: first one of the region, pixels of the level.
        column: first one.
        height: pixels of the level; the last squares may be cut off.
        width: the same.
        block: side of what is read at once, pixels of the level.

    Returns:
        (ceil(height / factor), ceil(width / factor), channels).
    """
    step = max(block // factor, 1) * factor
    result = np.empty((-(-height // factor), -(-width // factor), slide.channels), dtype=slide.dtype)
    for down in range(0, height, step):
        for right in range(0, width, step):
            part = slide.read(level, row + down, column + right, min(step, height - down), min(step, width - right))
            small = block_mean(part, factor)
            top, left = down // factor, right // factor
            result[top : top + small.shape[0], left : left + small.shape[1]] = small
    return result


def block_mean(part: Array, factor: int) -> Array:
    """(H, W, C) averaged in squares of ``factor``, the last row and column repeated as far as they are too short."""
    if factor == 1:
        return part
    down, right = -part.shape[0] % factor, -part.shape[1] % factor
    if down or right:
        part = np.pad(part, ((0, down), (0, right), (0, 0)), mode="edge")
    rows, columns = part.shape[0] // factor, part.shape[1] // factor
    if part.dtype.name in RESIZED:
        small = cv2.resize(part, (columns, rows), interpolation=cv2.INTER_AREA)
        return np.asarray(small).reshape(rows, columns, part.shape[2])
    mean = part.reshape(rows, factor, columns, factor, -1).mean(axis=(1, 3))
    return np.asarray((mean.round() if part.dtype.kind in "biu" else mean).astype(part.dtype))
