"""Carry a whole slide over with a stored field, saying first what it takes."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from custom_components.common.console import say
from custom_components.common.errors import InputError
from custom_components.fields import Grid
from custom_components.fields.blocks import FieldBlocks
from custom_components.pairs import Slide, full_stem, full_suffix, open_slide
from custom_components.pairs.formats import TIFF, PixelSize
from custom_components.pairs.layout import Layout
from custom_components.pairs.reading import AS_STORED, Reading
from custom_components.pairs.slides import ChannelSlide, read_shrunk
from custom_components.pairs.tiff_form import fitting, kept_compression
from custom_components.pairs.zarr_form import is_zarr_name
from custom_components.slides.blocks import BlockWriter
from custom_components.slides.native import rim_median
from custom_components.slides.pyramid import PyramidWriter
from custom_components.slides.slide_warp import SlideWarp, check_room, estimate, warp_blocks
from custom_components.slides.zarr_writer import ZarrWriter

THUMBNAIL = 1024


def carried_slide(folder: Path, image: str | Path) -> Path:
    """Where a slide that was carried over lies in a result's folder, unless another place was asked for."""
    return folder / f"warped_{full_stem(image)}.ome.tif"


def warp_slide_file(
    image: Path,
    output: Path,
    displacement: Any,
    source: Grid,
    target: Grid,
    pixel_size: PixelSize | None = None,
    order: int = 1,
    level: int = 0,
    compression: str | None = None,
    quality: int = 90,
    threads: int | None = None,
    zarr_version: str = "0.4",
    reading: Reading = AS_STORED,
) -> None:
    """Warp a slide into a pyramidal OME-TIFF or OME-Zarr; what was stopped goes on at the next call.

    Args:
        image: the source slide.
        output: .ome.tif, .tif or .ome.zarr.
        displacement: displacement image, target -> source.
        source: grid that the slide has at level 0.
        target: grid of the frame it is warped into, at full resolution.
        pixel_size: (row, col) micrometres of a target pixel at full resolution, or None.
        order: 0 nearest, for labels, or 1 linear.
        level: 0 is the target's full resolution, each further one half of it.
        compression: of TIFF, see ``PyramidWriter``; None keeps the kind of the source's, see ``slide_compression``.
        quality: of JPEG.
        threads: that warp; None takes one a core.
        zarr_version: of OME-Zarr.
        reading: what the user says of the slide; of a channel, that it is warped alone.

    Raises:
        InputError: no such plane, series or channel, another size than the registered slide's, a wrong option, no room
            for the result.
    """
    if full_suffix(output) not in (*TIFF, ".zarr"):
        raise InputError(f"{output}: a slide is written as .ome.tif, .tif or .ome.zarr")
    if is_zarr_name(output) and compression not in (None, "zstd"):
        raise InputError(f"{output}: OME-Zarr is always written with zstd, without loss; leave out --compression")
    if level < 0:
        raise InputError(f"--level is 0 or more, got {level}")
    if not output.parent.is_dir():
        raise InputError(f"{output}: can't be written, there is no folder {output.parent}")
    workers = threads or os.cpu_count() or 1
    with _opened(image, reading) as slide:
        if slide.levels[0] != source.shape:
            sizes = [" x ".join(str(side) for side in reversed(shape)) for shape in (slide.levels[0], source.shape)]
            raise InputError(f"image {image} is {sizes[0]} pixels, but the registered one has {sizes[1]}")
        grid = target.averaged(1 << level)
        found = source_level(slide, source, grid)
        field = FieldBlocks(displacement, grid.matrix, source.level(slide.levels[found]).matrix)
        thumbnail = np.moveaxis(read_shrunk(slide, THUMBNAIL, source)[0], -1, 0)
        background = [0.0] * slide.channels if order == 0 else rim_median(thumbnail)
        warp = SlideWarp(slide, found, field, order, background)
        size = None if pixel_size is None else (pixel_size[0] * (1 << level), pixel_size[1] * (1 << level))
        layout = slide.layout
        recipe = [str(image.resolve()), image.stat().st_mtime, order, field.digest()]
        recipe += [] if reading == AS_STORED else [str(reading)]
        shape = grid.shape[0], grid.shape[1]
        writer: BlockWriter
        if is_zarr_name(output):
            writer = ZarrWriter(
                output, shape, slide.channels, slide.dtype, order == 0, size, layout, zarr_version, recipe
            )  # fmt: skip
        else:
            writer = PyramidWriter(
                output, shape, slide.channels, slide.dtype,
                compression or slide_compression(layout, slide.channels, slide.dtype, order == 0), quality,
                order == 0, size, layout, recipe,
            )  # fmt: skip
        done = len(writer.places) - len(writer.missing())
        if done:
            say(f"{output}: resuming after {done} of {len(writer.places)} blocks")
        needed = estimate(warp, writer, workers)
        say(f"{output}: {needed}")
        check_room(needed, output.parent)
        for _ in tqdm(warp_blocks(warp, writer, workers), total=needed.blocks, unit="block", desc=output.name):
            pass
        writer.finish()


def _opened(image: Path, reading: Reading) -> Slide:
    slide = open_slide(image, reading)
    if reading.channel is None:
        return slide
    try:
        return ChannelSlide(slide, reading.channel)
    except BaseException:
        slide.close()
        raise


def slide_compression(layout: Layout | None, channels: int, dtype: Any, nearest: bool) -> str:
    """Of a warped slide, where none is asked for: JPEG for what was stored with loss, without loss for all else.

    Args:
        layout: of the source; where it doesn't say, 8-bit colour is taken for JPEG, as scanners write it.
        channels: of a pixel.
        dtype: of a pixel's channel.
        nearest: the pixels are labels.
    """
    fitted = fitting(layout, channels, dtype)
    if not fitted.compression and fitted.kind == "rgb":
        fitted = replace(fitted, compression="jpeg")
    return kept_compression(fitted, dtype, nearest)


def source_level(slide: Slide, source: Grid, target: Grid) -> int:
    """The coarsest level of a slide that is no coarser than the grid it is warped onto.

    Args:
        slide: open.
        source: grid of its level 0.
        target: the grid.
    """
    levels = enumerate(slide.levels)
    enough = [k for k, shape in levels if (source.level(shape).spacing <= 1.01 * target.spacing).all()]
    return enough[-1] if enough else 0
