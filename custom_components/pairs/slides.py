"""Large images read region by region: pyramidal slides, of which only what is needed is ever in memory.

TIFF of any kind (OME-TIFF with channels on pages, Aperio's .svs, generic pyramids) is decoded by tifffile, tile by
tile; OME-Zarr by zarr, CZI by Zeiss' library, LIF and ND2 of microscopes by their frames, DICOM by wsidicom, the forms
of other scanners (.ndpi, .mrxs, .scn, .bif, .vms, .svslide) by OpenSlide through MONAI's ``WSIReader``.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

import cv2
import numpy as np
import openslide

from custom_components.common.arrays import Array
from custom_components.common.errors import InputError
from custom_components.common.limits import WHOLE, check_size
from custom_components.fields.grid import Grid
from custom_components.pairs.channels import matched_channel, single_channel
from custom_components.pairs.closing import Closing
from custom_components.pairs.czi_slide import CziSlide
from custom_components.pairs.dicom_class import is_dicom_slide
from custom_components.pairs.dicom_slide import DicomSlide
from custom_components.pairs.formats import TIFF, PixelSize, full_suffix, is_image
from custom_components.pairs.layout import Layout
from custom_components.pairs.lif_slide import LifSlide
from custom_components.pairs.nd2_slide import Nd2Slide
from custom_components.pairs.pixel_sizes import COARSEST
from custom_components.pairs.reading import AS_STORED, Reading
from custom_components.pairs.tiff_pages import Shape
from custom_components.pairs.tiff_slide import TiffSlide
from custom_components.pairs.unreadable import naming_file, readable
from custom_components.pairs.zarr_slide import ZarrSlide

SLIDES = (
    ".svs", ".svslide", ".ndpi", ".mrxs", ".scn", ".bif", ".vms", ".vmu", ".czi", ".lif", ".nd2", ".zarr", ".ome.zarr",
)  # fmt: skip
RESIZED = ("uint8", "uint16", "int16", "float32", "float64")  # what OpenCV averages
LARGE = WHOLE  # pixels; what is smaller is registered and written as a whole


class Slide(Protocol):
    """An open slide; use it in a ``with`` statement.

    Attributes:
        path: of the file.
        levels: (height, width) of each level, largest first.
        channels: of a pixel.
        dtype: of a pixel's channel.
        pixel_size: (row, col) micrometres at level 0, or None where the file does not say.
        layout: how it is stored.
        notes: what a user should know of how it is read.
    """

    path: Path
    levels: list[Shape]
    channels: int
    dtype: np.dtype[Any]
    pixel_size: PixelSize | None
    layout: Layout

    @property
    def notes(self) -> tuple[str, ...]:
        """What a user should know of how it is read."""

    def read(self, level: int, row: int, column: int, height: int, width: int) -> Array:
        """(height, width, channels) of a level from a first pixel on; all of it must lie in the level."""

    def close(self) -> None:
        """Give the file back."""

    def __enter__(self) -> Slide: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class ScannerSlide(Closing):
    """What OpenSlide reads, through MONAI's ``WSIReader``; see ``Slide``. Alpha is laid onto white."""

    channels = 3
    dtype = np.dtype(np.uint8)
    notes: tuple[str, ...] = ()

    def __init__(self, path: Path, reading: Reading = AS_STORED) -> None:
        # here, as importing MONAI takes seconds and 0.3 GB, which other slides need not
        from monai.data import WSIReader

        self.path = path
        self._reader = WSIReader(backend="openslide")
        self._slide = self._reader.read(str(path))
        self.levels: list[Shape] = [(height, width) for width, height in self._slide.level_dimensions]
        check_size(path, self.levels[0], 1, 3, by_regions=True)
        try:
            rows, columns = (float(self._slide.properties[f"openslide.mpp-{axis}"]) for axis in "yx")
        except (KeyError, ValueError):
            rows = columns = 0.0
        stated = (rows, columns) if 0 < min(rows, columns) and max(rows, columns) < COARSEST else None
        self.pixel_size: PixelSize | None = (reading.pixel_size,) * 2 if reading.pixel_size else stated
        icc = self._slide.color_profile
        self.layout = Layout("rgb", (), (), "jpeg", (256, 256), len(self.levels), icc and icc.tobytes())

    @naming_file
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


class ArraySlide(Closing):
    """An image that is in memory as a whole; see ``Slide``.

    Args:
        path: of the file that it was read from.
        array: (H, W, channels).
        pixel_size: (row, col) micrometres, or None.
        layout: how the file is stored.
    """

    notes: tuple[str, ...] = ()

    def __init__(
        self, path: Path, array: Array, pixel_size: PixelSize | None = None, layout: Layout | None = None
    ) -> None:
        self.layout = layout or Layout("rgb" if array.shape[2] == 3 else "channels" if array.shape[2] > 1 else "grey")
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


class ChannelSlide(Closing):
    """One channel of a slide, with which it is closed; see ``Slide``.

    Args:
        slide: open.
        channel: name or number, from 0.

    Raises:
        InputError: there is no such channel.
    """

    channels = 1

    def __init__(self, slide: Slide, channel: str | int) -> None:
        number, _ = matched_channel(slide.layout, slide.channels, channel, slide.path)
        self._slide, self._channel = slide, int(number or 0)
        self.layout = single_channel(slide.layout, self._channel)
        self.path, self.levels, self.dtype = slide.path, slide.levels, slide.dtype
        self.pixel_size, self.notes = slide.pixel_size, slide.notes

    def read(self, level: int, row: int, column: int, height: int, width: int) -> Array:
        """See ``Slide``."""
        return self._slide.read(level, row, column, height, width)[..., self._channel : self._channel + 1]

    def close(self) -> None:
        """See ``Slide``."""
        self._slide.close()


def open_slide(path: str | Path, reading: Reading = AS_STORED) -> Slide:
    """Open an image whose regions can be read by themselves.

    Args:
        path: of the file.
        reading: what the user says of it.

    Raises:
        InputError: there is no such file, it can't be read, or its form has no regions (PNG, JPEG, NIfTI).
    """
    file = Path(path)
    dicom = is_dicom_slide(file)
    if not is_image(file) and not dicom:
        raise InputError(f"image {file} does not exist")
    suffix = full_suffix(file)
    with readable(file):
        if dicom:
            return DicomSlide(file, reading)
        if suffix.endswith(".zarr"):
            return ZarrSlide(file, reading)
        if suffix == ".czi":
            return CziSlide(file, reading)
        if suffix == ".lif":
            return LifSlide(file, reading)
        if suffix == ".nd2":
            return Nd2Slide(file, reading)
        if suffix in TIFF or suffix == ".svs":
            return TiffSlide(file, reading)
        if suffix in SLIDES:
            plain = openslide.OpenSlide.detect_format(str(file)) == "generic-tiff"  # under a scanner's suffix
            return (TiffSlide if plain else ScannerSlide)(file, reading)
    known = ", ".join((*TIFF, *SLIDES))
    raise InputError(f"image {file}: '{suffix}' has no regions to read one by one; convert it to one of {known}")


def is_slide(path: Path) -> bool:
    """Whether a file or folder has a form that only slides have, which are read by their regions."""
    return full_suffix(path) in SLIDES or is_dicom_slide(path)


def is_large(path: str | Path, reading: Reading = AS_STORED) -> bool:
    """Whether a file is a slide, or a TIFF of more than ``LARGE`` pixels."""
    suffix = full_suffix(path)
    if suffix not in TIFF:
        return is_slide(Path(path))
    with open_slide(path, reading) as slide:
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
