"""Carry a whole slide over with a stored field, saying first what it takes."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from custom_components.common.console import say
from custom_components.common.errors import InputError
from custom_components.fields import Grid
from custom_components.fields.blocks import FieldBlocks
from custom_components.pairs import Slide, open_slide
from custom_components.pairs.formats import PixelSize, full_suffix
from custom_components.pairs.slides import read_shrunk
from custom_components.slides.native import rim_median
from custom_components.slides.pyramid import PyramidWriter
from custom_components.slides.slide_warp import SlideWarp, check_room, estimate, warp_blocks

THUMBNAIL = 1024


def carried_slide(folder: Path, image: str | Path) -> Path:
    """Where a slide that was carried over lies in a result's folder, unless another place was asked for."""
    return folder / f"warped_{full_stem(image)}.ome.tif"


def full_stem(image: str | Path) -> str:
    """Name of an image without its suffix, of which ``.ome.tif`` and ``.nii.gz`` are one; other dots belong to it."""
    name = Path(image).name
    stem = name[: len(name) - len(full_suffix(name))] or name
    return stem[:-4] if stem.lower().endswith(".ome") else stem


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
) -> None:
    """Warp a slide into a pyramidal OME-TIFF; what was stopped goes on at the next call.

    Args:
        image: the source slide.
        output: .ome.tif or .tif.
        displacement: displacement image, target -> source.
        source: grid that the slide has at level 0.
        target: grid of the frame it is warped into, at full resolution.
        pixel_size: (row, col) micrometres of a target pixel at full resolution, or None.
        order: 0 nearest, for labels, or 1 linear.
        level: 0 is the target's full resolution, each further one half of it.
        compression: "jpeg", "deflate" or "none"; None takes JPEG for colour, lossless deflate for all else.
        quality: of JPEG.
        threads: that warp; None takes one a core.

    Raises:
        InputError: another size than the registered slide's, a wrong option, no room for the result.
    """
    if not output.name.lower().endswith((".tif", ".tiff")):
        raise InputError(f"{output}: a slide is written as .ome.tif or .tif")
    if level < 0:
        raise InputError(f"--level is 0 or more, got {level}")
    if not output.parent.is_dir():
        raise InputError(f"{output}: can't be written, there is no folder {output.parent}")
    workers = threads or os.cpu_count() or 1
    with open_slide(image) as slide:
        if slide.levels[0] != source.shape:
            sizes = [" x ".join(str(side) for side in reversed(shape)) for shape in (slide.levels[0], source.shape)]
            raise InputError(f"image {image} is {sizes[0]} pixels, but the registered one has {sizes[1]}")
        grid = target.averaged(1 << level)
        found = source_level(slide, source, grid)
        field = FieldBlocks(displacement, grid.matrix, source.level(slide.levels[found]).matrix)
        thumbnail = np.moveaxis(read_shrunk(slide, THUMBNAIL, source)[0], -1, 0)
        background = [0.0] * slide.channels if order == 0 else rim_median(thumbnail)
        warp = SlideWarp(slide, found, field, order, background)
        colour = slide.channels == 3 and slide.dtype == np.uint8
        size = None if pixel_size is None else (pixel_size[0] * (1 << level), pixel_size[1] * (1 << level))
        writer = PyramidWriter(
            output, (grid.shape[0], grid.shape[1]), slide.channels, slide.dtype,
            compression or ("jpeg" if colour and order else "deflate"), quality, nearest=order == 0, pixel_size=size,
            recipe=[str(image.resolve()), image.stat().st_mtime, order, field.digest()],
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
