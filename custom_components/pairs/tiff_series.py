"""What the image in a TIFF is: which of its series, what its axes hold, colours or channels, and their names."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tifffile

from custom_components.common.errors import InputError
from custom_components.pairs.layout import Layout
from custom_components.pairs.pixel_sizes import ome_images
from custom_components.pairs.reading import Reading, series_number

RGB_NAMES = ("red", "green", "blue")
COLOURED = (tifffile.PHOTOMETRIC.RGB, tifffile.PHOTOMETRIC.YCBCR, tifffile.PHOTOMETRIC.CIELAB)
MANY = 16  # pages of no stated meaning that are channels; more are planes
SMALL = re.compile(r"label|macro|thumb|overview|slide[ _]?image", re.IGNORECASE)
COMPRESSIONS = {1: "none", 5: "lzw", 7: "jpeg", 8: "zlib", 32946: "zlib", 50000: "zstd"}
JPEG2000 = (33003, 33004, 33005, 34712)


@dataclass(frozen=True)
class Planes:
    """The pages of one level that make the image.

    Attributes:
        chosen: a list for each plane that is read and put together by the maximum; of its pages, one a channel or one
            with all of them.
    """

    chosen: tuple[tuple[int, ...], ...]


def choose_series(tiff: tifffile.TiffFile, wanted: str | int | None) -> tuple[int, str]:
    """The number of the series to read, and a note where others were left; the largest that is no label or overview.

    Raises:
        InputError: no series has the name or number.
    """
    found = tiff.series
    names = [str(series.name or "") for series in found]
    there = ", ".join(f"{number} '{names[number]}' {_size(series)}" for number, series in enumerate(found))
    file = Path(tiff.filehandle.path)
    if wanted is not None:
        number = series_number(names, wanted)
        if number is None:
            raise InputError(f"image {file} has no series '{wanted}'; it has {there}")
        return number, ""
    if tiff.is_svs:
        return 0, ""

    def worth(number: int) -> tuple[bool, int]:
        series = found[number]
        pixels = int(series.sizes.get("height", 0)) * int(series.sizes.get("width", 0))
        return not SMALL.search(names[number]), pixels

    best = max(range(len(found)), key=worth)
    others = [number for number in range(len(found)) if number != best]
    if not others or (best == 0 and not tiff.is_ome):  # thumbnails that follow are usual
        return best, ""
    return best, f"series {best} '{names[best]}' of {len(found)} is read ({there})"


def _size(series: tifffile.TiffPageSeries) -> str:
    return f"{series.sizes.get('width', 0)} x {series.sizes.get('height', 0)}"


def page_choice(series: tifffile.TiffPageSeries, reading: Reading, file: Path) -> tuple[Planes, str]:
    """Which pages of a series are read, and the axis that its channels lie on: "S", another letter, or "".

    Raises:
        InputError: it is a stack or film and no plane is named, or has axes that no 2-D image has.
    """
    axes, shape = series.axes, series.shape
    if "Y" not in axes or "X" not in axes:
        raise InputError(f"image {file} has axes {axes} of {shape}; an image has rows Y and columns X")
    outer = [(axis, length) for axis, length in zip(axes, shape, strict=True) if axis not in "YXS"]
    samples = dict(zip(axes, shape, strict=True)).get("S", 1)
    long = [(axis, length) for axis, length in outer if length > 1]
    channels = [(a, n) for a, n in long if a == "C" or (a in "IQ" and n <= MANY)][:1]
    stacks = [entry for entry in long if entry not in channels]
    if channels and samples > 1:
        both = f"{samples} samples a pixel and {channels[0][1]} channels"
        raise InputError(f"image {file} has axes {axes} of {shape}, {both}; convert it to one of them")
    if len(stacks) > 1:
        raise InputError(f"image {file} has axes {axes} of {shape}; a section has one stack or film at most")
    planes: Sequence[int] = (0,)
    if stacks:
        axis, count = stacks[0]
        what = {"Z": "Z planes", "T": "time points"}.get(axis, f"pages of axis {axis}")
        planes = reading.planes(file, f"{count} {what} (axes {axes} of {shape})", count)
    steps = _steps(outer)
    stack, channel = stacks[0][0] if stacks else "", channels[0] if channels else ("", 1)
    chosen = tuple(
        tuple(plane * steps.get(stack, 0) + number * steps.get(channel[0], 0) for number in range(channel[1]))
        for plane in planes
    )
    return Planes(chosen), "S" if samples > 1 else channel[0]


def _steps(outer: Sequence[tuple[str, int]]) -> dict[str, int]:
    """Pages between neighbours along each axis; the last axis runs fastest."""
    found, step = {}, 1
    for axis, length in reversed(outer):
        found[axis] = step
        step *= length
    return found


def layout_of(tiff: tifffile.TiffFile, number: int, axis: str, channels: int) -> Layout:
    """How a series is stored.

    Args:
        tiff: open.
        number: of the series.
        axis: that the channels lie on, see ``page_choice``.
        channels: of the image, without alpha.
    """
    series = tiff.series[number]
    page = series.keyframe
    names, colours = channel_names(tiff, number, channels)
    rgb = channels == 3 and (
        (axis == "S" and page.photometric in COLOURED)
        or page.photometric in (tifffile.PHOTOMETRIC.PALETTE, tifffile.PHOTOMETRIC.SEPARATED)
        or (tuple(name.lower() for name in names) == RGB_NAMES and page.dtype == "uint8")
    )
    kind = "rgb" if rgb else "channels" if channels > 1 else "grey"
    compression = "jpeg2000" if int(page.compression) in JPEG2000 else COMPRESSIONS.get(int(page.compression), "")
    icc = page.tags.valueof(34675)
    return Layout(
        kind, () if rgb else names, () if rgb else colours, compression,
        (page.tilelength, page.tilewidth) if page.is_tiled else None, len(series.levels), bytes(icc) if icc else None,
    )  # fmt: skip


def channel_names(
    tiff: tifffile.TiffFile, number: int, channels: int
) -> tuple[tuple[str, ...], tuple[tuple[int, int, int], ...]]:
    """Names and colours of the channels of a series, as OME, ImageJ and PerkinElmer write them; empty where none."""
    names: list[str] = []
    colours: list[tuple[int, int, int]] = []
    if tiff.is_ome:
        images = ome_images(tiff.ome_metadata)
        entries = images[number].get("Pixels", {}).get("Channel", []) if number < len(images) else []
        entries = entries if isinstance(entries, list) else [entries]
        names = [str(entry.get("Name", "")) for entry in entries]
        colours = [_colour(entry) for entry in entries if "Color" in entry]
    elif tiff.is_imagej:
        own: Mapping[str, Any] = tiff.imagej_metadata or {}
        labels: Any = own.get("Labels") or []
        names = [str(label) for label in ([labels] if isinstance(labels, str) else labels)]
        colours = [(int(lut[0, -1]), int(lut[1, -1]), int(lut[2, -1])) for lut in own.get("LUTs") or []]
    elif tiff.is_shaped and tiff.shaped_metadata:
        entry = tiff.shaped_metadata[0].get("Channel") or {}
        names = [str(name) for name in entry.get("Name", [])]
        colours = [(int(r), int(g), int(b)) for r, g, b in entry.get("Color", [])]
    elif tiff.is_qpi:
        texts = [str(page.aspage().description) for page in tiff.series[number].pages if page is not None]
        names = [(re.findall(r"<Name>(.*?)</Name>", text) or [""])[0] for text in texts]
    named = tuple(names) if len(names) == channels and any(names) else ()
    return named, tuple(colours) if len(colours) == channels else ()


def _colour(entry: Mapping[str, Any]) -> tuple[int, int, int]:
    """OME's signed 32-bit RGBA as (red, green, blue)."""
    value = int(entry["Color"]) & 0xFFFFFFFF
    return value >> 24, value >> 16 & 255, value >> 8 & 255
