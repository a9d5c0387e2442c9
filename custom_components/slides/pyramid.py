"""Tiled pyramidal OME-TIFF of any size, made from blocks in any order.

A block is compressed as soon as it is known and kept in a folder beside the target; so memory does not grow with the
image, and a run that was stopped goes on with the blocks that are missing. When all are there, the file is put together
and renamed.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np

from custom_components.common.arrays import Array
from custom_components.common.errors import InputError
from custom_components.pairs.formats import PixelSize
from custom_components.pairs.layout import Layout
from custom_components.pairs.tiff_file import level_shapes, write_levels
from custom_components.pairs.tiff_form import (
    CODES,
    QUALITY,
    TILE,
    TiffForm,
    can_predict,
    check_holds,
    encoded,
    fitting,
    is_ome_name,
    whole_tile,
)
from custom_components.slides.blocks import BLOCK, DEPTH, BlockWriter
from custom_components.slides.parts import Part, PartsReader, write_parts

__all__ = ["BLOCK", "COMPRESSIONS", "TILE", "PyramidWriter", "level_shapes"]
COMPRESSIONS = tuple(CODES)


class PyramidWriter(BlockWriter):
    """Takes blocks, gives an OME-TIFF.

    Args:
        path: of the file to come, .ome.tif or .tif.
        shape: (height, width).
        channels: of a pixel; those that are not RGB become pages.
        dtype: of a pixel's channel.
        compression: "jpeg" (8-bit), "deflate", "lzw", "zstd" or "jpeg2000" (all four without loss) or "none".
        quality: of JPEG, to 100.
        nearest: levels take every second pixel instead of the mean of four, for labels.
        pixel_size: (row, col) micrometres, or None.
        layout: of the source: RGB or channels, their names, colours and profile. None: three channels of 8 or 16 bit
            are RGB.
        recipe: what the blocks depend on; blocks of another recipe are not gone on with.

    Raises:
        InputError: the compression or the form can't hold such pixels, or the folder can't be written.
    """

    def __init__(
        self,
        path: str | Path,
        shape: tuple[int, int],
        channels: int,
        dtype: Any,
        compression: str = "deflate",
        quality: int = QUALITY,
        nearest: bool = False,
        pixel_size: PixelSize | None = None,
        layout: Layout | None = None,
        recipe: Any = None,
    ) -> None:
        super().__init__(path, level_shapes(*shape), nearest)
        kind = np.dtype(dtype)
        if compression not in COMPRESSIONS:
            raise InputError(f"compression is {', '.join(COMPRESSIONS)}, got '{compression}'")
        self.form = TiffForm(
            fitting(layout, channels, kind), channels, kind, compression, (TILE, TILE),
            can_predict(kind, compression) and not nearest, pixel_size, is_ome_name(self.path), quality,
        )  # fmt: skip
        check_holds(self.path, self.form)
        self.begin({"levels": self.levels, "channels": channels, "dtype": kind.name, "quality": quality,
                    "compression": compression, "predictor": self.form.predictor, "kind": self.form.layout.kind,
                    "nearest": nearest, "recipe": recipe})  # fmt: skip

    def put(self, row: int, column: int, block: Array) -> int:
        """Keep a block (h, w, channels), of ``BLOCK`` pixels a side or what is left of the image; returns its bytes.

        Safe in threads.
        """
        members: dict[str, Part] = {}
        part = block
        for level in range(min(DEPTH + 1, len(self.levels))):
            if level:
                part = self.half(part)
            for i in range(0, part.shape[0], TILE):
                for j in range(0, part.shape[1], TILE):
                    tile = part[i : i + TILE, j : j + TILE]
                    for plane in range(self.form.planes):
                        name = f"{level}_{i // TILE}_{j // TILE}_{plane}"
                        members[name] = self._encoded(tile, plane)
        members["last"] = part
        return write_parts(self.mark(row, column), members)

    def finish(self) -> None:
        """Write the file and remove the blocks.

        Raises:
            InputError: blocks are missing, or the file can't be written.
        """
        self.check_complete()
        for level in range(DEPTH + 1, len(self.levels)):
            self._coarse(level)
        temporary = self.path.with_name(f".{uuid4().hex[:8]}.{self.path.name}")
        try:
            write_levels(temporary, self.form, self.levels, map(self._tiles, range(len(self.levels))))
            temporary.replace(self.path)
        except OSError as error:
            raise InputError(f"{self.path}: can't be written ({error.strerror or error})") from error
        finally:
            temporary.unlink(missing_ok=True)
        shutil.rmtree(self.work, ignore_errors=True)

    def _encoded(self, tile: Array, plane: int) -> bytes:
        values = tile if self.form.rgb else tile[..., plane]
        return encoded(whole_tile(values, (TILE, TILE)), self.form)

    def _coarse(self, level: int) -> None:
        """Tiles of a level above those of the blocks, from the level below it; each is a file, so is what it shows."""
        source = self._shown if level > DEPTH + 1 else self._last
        height, width = self.levels[level]
        for i in range(-(-height // TILE)):
            for j in range(-(-width // TILE)):
                parts = [
                    [
                        source(level - 1, row, column)
                        for column in (2 * j, 2 * j + 1)
                        if self._inside(level - 1, row, column)
                    ]
                    for row in (2 * i, 2 * i + 1)
                    if self._inside(level - 1, row, 2 * j)
                ]
                tile = self.half(np.concatenate([np.concatenate(row, axis=1) for row in parts], axis=0))
                planes = {str(p): self._encoded(tile, p) for p in range(self.form.planes)}
                write_parts(self._tile(level, i, j), {"shown": tile, **planes})

    def _inside(self, level: int, i: int, j: int) -> bool:
        return i * TILE < self.levels[level][0] and j * TILE < self.levels[level][1]

    def _tile(self, level: int, i: int, j: int) -> Path:
        return self.work / f"level{level}_{i}_{j}.parts"

    def _shown(self, level: int, i: int, j: int) -> Array:
        return PartsReader(self._tile(level, i, j)).array("shown")

    def _last(self, level: int, i: int, j: int) -> Array:
        """The coarsest level of a block, which is one tile."""
        return PartsReader(self.mark(i * BLOCK, j * BLOCK)).array("last")

    def _tiles(self, level: int) -> Iterator[bytes]:
        """Compressed tiles of a level in the order of the file: by planes, rows, columns."""
        height, width = self.levels[level]
        side = 1 << max(DEPTH - level, 0)  # tiles of a block

        @lru_cache(maxsize=-(-width // (TILE * side)) + 1)
        def block(i: int, j: int) -> PartsReader:
            return PartsReader(self.mark(i * BLOCK, j * BLOCK))

        for plane in range(self.form.planes):
            for i in range(-(-height // TILE)):
                for j in range(-(-width // TILE)):
                    if level <= DEPTH:
                        yield block(i // side, j // side).content(f"{level}_{i % side}_{j % side}_{plane}")
                    else:
                        yield PartsReader(self._tile(level, i, j)).content(str(plane))
