"""OME-Zarr of any size, made from blocks in any order."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np

from custom_components.common.arrays import Array
from custom_components.common.errors import InputError
from custom_components.pairs.formats import PixelSize
from custom_components.pairs.layout import Layout
from custom_components.pairs.tiff_file import level_shapes
from custom_components.pairs.tiff_form import TILE, fitting
from custom_components.pairs.zarr_form import create_levels, publish_zarr, write_attributes
from custom_components.slides.blocks import BLOCK, DEPTH, BlockWriter


class ZarrWriter(BlockWriter):
    """Takes blocks, gives an OME-Zarr, whose chunks are those of the block: no chunk is written by two threads.

    Args:
        path: of the folder to come, .ome.zarr.
        shape: (height, width).
        channels: of a pixel.
        dtype: of a pixel's channel.
        nearest: levels take every second pixel instead of the mean of four, for labels.
        pixel_size: (row, col) micrometres, or None.
        layout: of the source, see ``PyramidWriter``.
        version: of OME-Zarr, "0.4" or "0.5".
        recipe: what the blocks depend on; blocks of another recipe are not gone on with.

    Raises:
        InputError: another version, the package zarr is missing, or the folder can't be written.
    """

    def __init__(
        self,
        path: str | Path,
        shape: tuple[int, int],
        channels: int,
        dtype: Any,
        nearest: bool = False,
        pixel_size: PixelSize | None = None,
        layout: Layout | None = None,
        version: str = "0.4",
        recipe: Any = None,
    ) -> None:
        super().__init__(path, level_shapes(*shape), nearest)
        kind = np.dtype(dtype)
        self.layout = fitting(layout, channels, kind)
        self.pixel_size = pixel_size
        self.version = version
        self.begin({"levels": self.levels, "channels": channels, "dtype": kind.name, "version": version,
                    "nearest": nearest, "recipe": recipe})  # fmt: skip
        self.store = self.work / "store"
        shapes = [(channels, *level) for level in self.levels]
        self.arrays = create_levels(self.store, shapes, kind, version, self.path)

    def put(self, row: int, column: int, block: Array) -> int:
        """See ``BlockWriter``."""
        part, size = block, 0
        for level in range(min(DEPTH + 1, len(self.levels))):
            if level:
                part = self.half(part)
            size += self._set(level, row >> level, column >> level, part)
        self.mark(row, column).touch()
        return size

    def finish(self) -> None:
        """See ``BlockWriter``."""
        self.check_complete()
        try:
            for level in range(DEPTH + 1, len(self.levels)):
                self._coarse(level)
            spacing = None if self.pixel_size is None else self.pixel_size
            write_attributes(
                self.store, self.arrays, self.layout, spacing, "micrometer", self.version, self.nearest, self.path.name
            )
        except OSError as error:
            raise InputError(f"{self.path}: can't be written ({error.strerror or error})") from error
        publish_zarr(self.store, self.path)
        shutil.rmtree(self.work, ignore_errors=True)

    def _coarse(self, level: int) -> None:
        height, width = self.levels[level]
        for row in range(0, height, TILE):
            for column in range(0, width, TILE):
                below = self.arrays[level - 1][:, 2 * row : 2 * (row + TILE), 2 * column : 2 * (column + TILE)]
                self._set(level, row, column, self.half(np.ascontiguousarray(np.moveaxis(below, 0, -1))))

    def _set(self, level: int, row: int, column: int, part: Array) -> int:
        """Write (h, w, channels) from a pixel on that begins a chunk; returns the bytes of its chunks."""
        height, width, channels = part.shape
        self.arrays[level][:, row : row + height, column : column + width] = np.moveaxis(part, -1, 0)
        folder = self.store / str(level) / ("c" if self.version == "0.5" else "")
        files = (
            folder / str(channel) / str(i) / str(j)
            for channel in range(channels)
            for i in range(row // TILE, -(-(row + height) // TILE))
            for j in range(column // TILE, -(-(column + width) // TILE))
        )
        return sum(file.stat().st_size for file in files if file.is_file())  # chunks of zeros are left out


__all__ = ["BLOCK", "ZarrWriter"]
