"""Levels of an image put together as a TIFF that all programs open."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import tifffile

from custom_components.pairs.tiff_form import CLASSIC, TILE, Shape, TiffForm, check_holds, level_options


def level_shapes(height: int, width: int, tile: int = TILE, least: int = 1) -> list[Shape]:
    """Sizes of the levels, each half of the one before, rounded up, down to one tile; ``least`` of them or more."""
    shapes = [(height, width)]
    while max(shapes[-1]) > tile or (len(shapes) < least and min(shapes[-1]) > 1):
        shapes.append((-(-shapes[-1][0] // 2), -(-shapes[-1][1] // 2)))
    return shapes


def write_levels(
    path: Path, form: TiffForm, shapes: Sequence[tuple[int, ...]], data: Iterable[Iterator[bytes]]
) -> None:
    """Write a TIFF, a BigTIFF where it has levels or may be large.

    Args:
        path: of the file; ``form`` knows whether it is an OME-TIFF.
        form: of the file.
        shapes: of the levels, largest first.
        data: their compressed segments, in the order of the file.

    Raises:
        InputError: the form can't hold such pixels.
        OSError: the file can't be written.
    """
    check_holds(path, form)
    bigtiff = len(shapes) > 1 or math.prod(shapes[0]) * form.channels * form.dtype.itemsize > CLASSIC
    with tifffile.TiffWriter(path, bigtiff=bigtiff, ome=form.ome, imagej=form.imagej) as writer:
        for level, (shape, encoded) in enumerate(zip(shapes, data, strict=True)):
            writer.write(encoded, **level_options(form, shape, level, len(shapes)))
    if form.planes == 1 and len(shapes) > 1:
        chain_levels(path)


def chain_levels(path: Path) -> None:
    """Let the levels of a BigTIFF of one page follow it as pages too.

    OME-TIFF keeps levels as sub-images of their page, where Bio-Formats and QuPath look; OpenSlide looks at the chain
    of pages alone. Both lists may name the same images.
    """
    with tifffile.TiffFile(path) as tiff:
        page, order = tiff.pages.first, tiff.byteorder
        offsets = [page.offset, *(page.subifds or ())]
    with path.open("r+b") as stream:
        for offset, following in zip(offsets, [*offsets[1:], 0], strict=True):
            stream.seek(offset)
            (tags,) = struct.unpack(f"{order}Q", stream.read(8))
            stream.seek(offset + 8 + 20 * tags)
            stream.write(struct.pack(f"{order}Q", following))
