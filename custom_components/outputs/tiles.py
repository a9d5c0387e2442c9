"""Tiles of an image of any size and of its halvings: JPEG files that a page loads as it needs them.

Blocks are read one by one, cut into tiles and halved; the last halving of each is kept until its neighbours are there.
So memory does not grow with the image.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from math import floor, log2, prod
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from custom_components.fields import Grid
from custom_components.outputs.pictures import RGB, contrast, jpeg, to_rgb
from custom_components.pairs import Slide
from custom_components.pairs.slides import block_mean, read_block_mean, read_shrunk
from custom_components.pairs.tiff_pages import Shape
from custom_components.slides.pyramid import TILE, level_shapes

DEEP = 2  # halvings of a block while it is in memory
QUALITY = 88
SAMPLES = 4  # tiles along each side that an estimate is made from


@dataclass(frozen=True)
class Layer:
    """An image as it is shown over a frame of full resolution.

    Attributes:
        slide: open.
        level: of the slide that is read.
        factor: pixels of that level, along each side, that are averaged to one that is shown.
        scale: (row, col) pixels of the frame that one shown pixel is wide; its first corner is the frame's.
        limits: see ``pictures.contrast``.
    """

    slide: Slide
    level: int
    factor: int
    scale: tuple[float, float]
    limits: tuple[float, float] | None

    @property
    def shape(self) -> Shape:
        """(height, width) of all that is shown."""
        height, width = self.slide.levels[self.level]
        return -(-height // self.factor), -(-width // self.factor)

    @property
    def count(self) -> int:
        """Tiles of all levels."""
        return sum(prod(-(-side // TILE) for side in shape) for shape in level_shapes(*self.shape, TILE))

    def read(self, row: int, column: int, height: int, width: int) -> RGB:
        """(height, width, 3) from a first shown pixel on, or what of it lies in the image. Safe in threads."""
        rows, columns = self.slide.levels[self.level]
        top, left = row * self.factor, column * self.factor
        tall, wide = min(height * self.factor, rows - top), min(width * self.factor, columns - left)
        part = read_block_mean(self.slide, self.level, self.factor, top, left, tall, wide)
        return to_rgb(np.moveaxis(part, -1, 0), self.limits)


def make_layer(slide: Slide, own: tuple[float, float], wanted: float) -> Layer:
    """The halving of a slide that is no coarser than wanted, from the slide's own levels where they fit.

    Args:
        slide: open.
        own: (row, col) pixels of the frame that a pixel of the slide's level 0 is wide.
        wanted: the same of a shown pixel; a slide that is coarser by itself is shown as it is.
    """
    whole = Grid.of_pixels(slide.levels[0])
    times = 1 << max(0, floor(log2(wanted / max(own)) + 1e-6))
    found = [(0, times)]
    for number, shape in enumerate(slide.levels):
        rows, columns = whole.level(shape).spacing
        if rows == columns and times % rows == 0:  # a level whose pixels are whole squares of those of level 0
            found.append((number, times // int(rows)))
    level, factor = min(found, key=lambda choice: choice[1])
    # the limits are those of the whole, of which a small picture says enough
    colour = slide.channels == 3 and slide.dtype == np.uint8
    limits = None if colour else contrast(np.moveaxis(read_shrunk(slide, 1024, whole)[0], -1, 0))
    return Layer(slide, level, factor, (own[0] * times, own[1] * times), limits)


@dataclass(frozen=True)
class Cost:
    """What the tiles of layers will take.

    Attributes:
        tiles: files.
        disk: bytes.
        seconds: on one idle core.
    """

    tiles: int
    disk: float
    seconds: float


def estimate(layers: Iterable[Layer]) -> Cost:
    """From tiles spread over each layer, which are read and encoded but not written."""
    tiles, disk, seconds = 0, 0.0, 0.0
    for layer in layers:
        rows, columns = (
            sorted({round((k + 0.5) / SAMPLES * (-(-side // TILE)) - 0.5) for k in range(SAMPLES)})
            for side in layer.shape
        )
        start = perf_counter()
        sizes = [len(jpeg(layer.read(r * TILE, c * TILE, TILE, TILE), QUALITY)) for r in rows for c in columns]
        seconds += (perf_counter() - start) / len(sizes) * layer.count
        disk += (float(np.mean(sizes)) + 2048) * layer.count  # the last block of a file is half empty
        tiles += layer.count
    return Cost(tiles, disk, seconds)


def cut(image: RGB, tile: int = TILE) -> Iterator[tuple[int, int, RGB]]:
    """(row, column, picture) of the tiles that a picture (H, W, 3) consists of; the last ones are smaller."""
    for top in range(0, image.shape[0], tile):
        for left in range(0, image.shape[1], tile):
            yield top // tile, left // tile, image[top : top + tile, left : left + tile]


def halved(picture: RGB) -> RGB:
    """Each pixel the mean of four, the last row and column repeated where they are odd."""
    return block_mean(picture, 2)


def write_tiles(layer: Layer, root: Path, threads: int = 1, advance: Callable[[], Any] = lambda: None) -> list[Shape]:
    """Write ``<root>/<level>/<column>_<row>.jpg``, level 0 the smallest, which fits one tile.

    Args:
        layer: what is shown.
        root: a folder to be made.
        threads: that read and encode.
        advance: called after every block, of which there are ``block_count``.

    Returns:
        (height, width) of each level, the smallest first.

    Raises:
        OSError: the folder can't be written, or is full.
    """
    shapes = level_shapes(*layer.shape, TILE)[::-1]
    last = len(shapes) - 1
    deep = min(DEEP, last)
    for number in range(len(shapes)):
        (root / str(number)).mkdir(parents=True)

    def put(level: int, row: int, column: int, picture: RGB) -> None:
        (root / str(level) / f"{column}_{row}.jpg").write_bytes(jpeg(picture, QUALITY))

    def block(place: tuple[int, int]) -> RGB:
        side = TILE << deep
        picture = layer.read(place[0] * side, place[1] * side, side, side)
        for level in range(last, last - deep - 1, -1):
            first_row, first_column = (number << (level - last + deep) for number in place)
            for row, column, part in cut(picture):
                put(level, first_row + row, first_column + column, part)
            picture = picture if level == last - deep else halved(picture)
        return picture

    def tile(level: int, row: int, column: int) -> RGB:
        if level == last - deep:
            advance()
            return next(blocks)
        lines = [
            np.concatenate([tile(level + 1, *place) for place in line], axis=1)
            for line in _children(shapes[level + 1], row, column)
        ]
        picture = halved(np.concatenate(lines))
        put(level, row, column, picture)
        return picture

    with ThreadPoolExecutor(threads) as pool:
        blocks = _in_order(pool, block, _places(shapes[: last - deep + 1], 0, 0), threads + 1)
        tile(0, 0, 0)
    return shapes


def block_count(layer: Layer) -> int:
    """How many blocks ``write_tiles`` makes."""
    side = TILE << min(DEEP, len(level_shapes(*layer.shape, TILE)) - 1)
    return prod(-(-length // side) for length in layer.shape)


def _children(shape: Shape, row: int, column: int) -> list[list[tuple[int, int]]]:
    """Rows of the tiles of a level of ``shape`` that lie under a tile of the level above it."""
    rows, columns = ((2 * k, 2 * k + 1) for k in (row, column))
    inside = [c for c in columns if c * TILE < shape[1]]
    return [[(r, c) for c in inside] for r in rows if r * TILE < shape[0]]


def _places(shapes: Sequence[Shape], row: int, column: int) -> Iterator[tuple[int, int]]:
    """Tiles of the last level under one of the first, in the order in which those above them need them."""
    if len(shapes) == 1:
        yield row, column
        return
    for line in _children(shapes[1], row, column):
        for place in line:
            yield from _places(shapes[1:], *place)


def _in_order(
    pool: ThreadPoolExecutor, work: Callable[[tuple[int, int]], RGB], items: Iterable[tuple[int, int]], ahead: int
) -> Iterator[RGB]:
    """Results in the order of the items, at most ``ahead`` of them in memory."""
    waiting: deque[Future[RGB]] = deque()
    try:
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) >= ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for future in waiting:
            future.cancel()
