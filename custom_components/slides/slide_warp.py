"""A slide of any size through a field, block by block, into a pyramidal OME-TIFF or OME-Zarr."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from resource import RUSAGE_SELF, getrusage
from time import perf_counter

import cv2
import numpy as np

from custom_components.common.arrays import Array
from custom_components.common.errors import InputError
from custom_components.fields.blocks import FieldBlocks
from custom_components.pairs import Slide
from custom_components.slides.blocks import BLOCK, BlockWriter

REMAPPED = ("uint8", "uint16", "int16", "float32", "float64")  # what OpenCV interpolates
CHANNELS_AT_ONCE = 4  # of OpenCV's border value
STRIP = 4  # blocks; of those in a strip of so many rows, column by column, one in eight tiles is decoded twice
SPREAD = 2.0  # a block's source may have so many times its pixels, as under a rotation by 45 degrees


@dataclass(frozen=True)
class MemoryEstimate:
    """What warping a slide will take.

    Attributes:
        pixels: of the result's largest level.
        blocks: still to do.
        seconds: for those, on idle cores.
        memory: bytes, at most.
        disk: bytes, while the file is put together; half of it stays.
    """

    pixels: int
    blocks: int
    seconds: float
    memory: float
    disk: float

    def __str__(self) -> str:
        return (
            f"{self.pixels / 1e6:.0f} MPix, {self.blocks} blocks left, about {_duration(self.seconds)}, "
            f"{self.memory / 1e9:.1f} GB of memory, {self.disk / 1e9:.2f} GB of disk"
        )


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


class SlideWarp:
    """The blocks of a warped slide.

    Args:
        slide: the source, open.
        level: of the source that is read.
        field: from pixels of the result to pixels of that level.
        order: 0 nearest neighbour (labels), 1 linear.
        background: one value a channel, where the source does not reach.

    Raises:
        InputError: another order, or pixels that can't be interpolated linearly.
    """

    def __init__(
        self, slide: Slide, level: int, field: FieldBlocks, order: int = 1, background: Sequence[float] = (0.0,)
    ) -> None:
        if order not in (0, 1):
            raise InputError(f"slides are warped by order 0 (nearest) or 1 (linear), got {order}")
        if order == 1 and slide.dtype.name not in REMAPPED:
            raise InputError(f"{slide.path}: {slide.dtype} pixels can't be interpolated; give --order 0 for labels")
        self.slide = slide
        self.level = level
        self.field = field
        self.order = order
        self.background = np.broadcast_to(np.asarray(background, dtype=np.float64), (slide.channels,))

    def block(self, row: int, column: int, height: int, width: int) -> Array:
        """(height, width, channels) of the result. Safe in threads.

        Raises:
            InputError: the field pulls a block apart so far that its source does not fit into memory.
        """
        sources = self.field(row, column, height, width)
        whole = self.slide.levels[self.level]
        start = [max(sources.origin[k] - 1, 0) for k in range(2)]
        stop = [min(sources.origin[k] + sources.size[k] + 1, whole[k]) for k in range(2)]
        size = (height, width, self.slide.channels)
        if stop[0] <= start[0] or stop[1] <= start[1]:
            return np.broadcast_to(self._cast(self.background), size).copy()
        if (stop[0] - start[0]) * (stop[1] - start[1]) > 64 * BLOCK**2:
            raise InputError(
                f"{self.slide.path}: the field shrinks the slide more than eightfold; register the pair again"
            )
        source = self.slide.read(self.level, start[0], start[1], stop[0] - start[0], stop[1] - start[1])
        rows, columns = sources.rows, sources.columns  # arrays of this block alone
        rows += np.float32(sources.origin[0] - start[0])
        columns += np.float32(sources.origin[1] - start[1])
        if self.order == 0:
            return self._nearest(source, rows, columns)
        parts = []
        for first in range(0, self.slide.channels, CHANNELS_AT_ONCE):
            some = slice(first, first + CHANNELS_AT_ONCE)
            warped = cv2.remap(
                np.ascontiguousarray(source[..., some]), columns, rows, cv2.INTER_LINEAR,
                borderMode=cv2.BORDER_CONSTANT, borderValue=[float(v) for v in self.background[some]],
            )  # fmt: skip
            parts.append(np.asarray(warped).reshape(height, width, -1))
        return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=2)

    def _nearest(self, source: Array, rows: Array, columns: Array) -> Array:
        near = [np.floor(places + 0.5).astype(np.int64) for places in (rows, columns)]
        inside = (near[0] >= 0) & (near[0] < source.shape[0]) & (near[1] >= 0) & (near[1] < source.shape[1])
        clipped = [np.clip(places, 0, side - 1) for places, side in zip(near, source.shape[:2], strict=True)]
        return np.where(inside[..., None], source[clipped[0], clipped[1]], self._cast(self.background))

    def _cast(self, values: Array) -> Array:
        return values.astype(self.slide.dtype)


def estimate(warp: SlideWarp, writer: BlockWriter, threads: int) -> MemoryEstimate:
    """Warp the block in the middle of what is left, and conclude from it; its result is kept."""
    left = writer.missing()
    height, width = writer.levels[0]
    per_pixel = warp.slide.channels * warp.slide.dtype.itemsize
    # maps and their parts, source and its copy, result with its levels and compressed form
    memory = getrusage(RUSAGE_SELF).ru_maxrss * 1024 + threads * BLOCK**2 * (6 * 8 + per_pixel * (2 * SPREAD + 3))
    if not left:
        return MemoryEstimate(height * width, 0, 0.0, memory, 0.0)
    start = perf_counter()
    place = left[len(left) // 2]
    size = writer.put(*place, warp.block(*place, *_size(writer, place)))
    seconds = (perf_counter() - start) * (len(left) - 1) / max(min(threads, os.cpu_count() or 1), 1)
    # the blocks and the file made of them are there at once
    return MemoryEstimate(height * width, len(left) - 1, seconds, memory, 2.0 * size * len(writer.places))


def _size(writer: BlockWriter, place: tuple[int, int]) -> tuple[int, int]:
    height, width = writer.levels[0]
    return min(BLOCK, height - place[0]), min(BLOCK, width - place[1])


def check_room(needed: MemoryEstimate, folder: Path) -> None:
    """Raise ``InputError`` when memory or disk would not hold what is coming."""
    free = shutil.disk_usage(folder).free
    if needed.disk > free:
        raise InputError(
            f"{folder}: warping needs about {needed.disk / 1e9:.1f} GB of disk, {free / 1e9:.1f} GB are free; give "
            "--output on another disk, --compression jpeg, or a higher --level"
        )
    try:
        available = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError, AttributeError):  # not said by every system
        return
    if needed.memory > max(available, 1e9):
        raise InputError(
            f"warping needs about {needed.memory / 1e9:.1f} GB of memory, {available / 1e9:.1f} GB are free; give "
            "fewer --threads"
        )


def in_strips(places: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """First rows and columns of blocks, so ordered that those done one after the other lie about a common place.

    A block needs tiles of the source that its neighbours need as well, and row by row those of the row above it have
    been forgotten on a wide slide, and are decoded once more.
    """
    return sorted(places, key=lambda place: (place[0] // (STRIP * BLOCK), place[1], place[0]))


def warp_blocks(warp: SlideWarp, writer: BlockWriter, threads: int) -> Iterator[tuple[int, int]]:
    """Do all blocks that are missing, ``threads`` at a time; yields each place when it is on disk."""
    with ThreadPoolExecutor(threads) as pool:
        waiting: set[Future[tuple[int, int]]] = set()

        def one(place: tuple[int, int]) -> tuple[int, int]:
            writer.put(*place, warp.block(*place, *_size(writer, place)))
            return place

        try:
            for place in in_strips(writer.missing()):
                waiting.add(pool.submit(one, place))
                if len(waiting) >= threads:
                    done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                    yield from (future.result() for future in done)
            for future in waiting:
                yield future.result()
        finally:
            for future in waiting:
                future.cancel()
