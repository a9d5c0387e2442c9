"""Tiled pyramidal OME-TIFF of any size, made from blocks in any order.

A block is a square of ``BLOCK`` pixels that holds whole tiles of the first levels. It is compressed as soon as it is
known and kept in a folder beside the target; so memory does not grow with the image, and a run that was stopped goes on
with the blocks that are missing. When all are there, the file is put together and renamed.
"""

from __future__ import annotations

import json
import shutil
import struct
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any
from uuid import uuid4

import imagecodecs
import numpy as np
import tifffile

from custom_components.common.arrays import Array
from custom_components.common.errors import InputError
from custom_components.pairs import atomic_path
from custom_components.pairs.formats import PixelSize
from custom_components.pairs.slides import block_mean

TILE = 512
DEPTH = 1  # levels within a block below its first; more would take more memory a thread
BLOCK = TILE << DEPTH
COMPRESSIONS = ("jpeg", "deflate", "none")


def level_shapes(height: int, width: int) -> list[tuple[int, int]]:
    """Sizes of the levels, each half of the one before, rounded up, down to one tile."""
    shapes = [(height, width)]
    while max(shapes[-1]) > TILE:
        shapes.append((-(-shapes[-1][0] // 2), -(-shapes[-1][1] // 2)))
    return shapes


class PyramidWriter:
    """Takes blocks, gives an OME-TIFF.

    Args:
        path: of the file to come, .ome.tif or .tif.
        shape: (height, width).
        channels: of a pixel; 3 of 8 bit are colour, others become pages, named by ``names``.
        dtype: of a pixel's channel.
        compression: "jpeg" (8-bit grey or colour), "deflate" (lossless) or "none".
        quality: of JPEG, to 100.
        nearest: levels take every second pixel instead of the mean of four, for labels.
        pixel_size: (row, col) micrometres, or None.
        names: of the channels.
        recipe: what the blocks depend on; blocks of another recipe are not gone on with.

    Raises:
        InputError: the compression can't hold such pixels, or the folder can't be written.
    """

    def __init__(
        self,
        path: str | Path,
        shape: tuple[int, int],
        channels: int,
        dtype: Any,
        compression: str = "deflate",
        quality: int = 90,
        nearest: bool = False,
        pixel_size: PixelSize | None = None,
        names: Sequence[str] = (),
        recipe: Any = None,
    ) -> None:
        self.path = Path(path)
        self.dtype = np.dtype(dtype)
        if compression not in COMPRESSIONS:
            raise InputError(f"compression is {', '.join(COMPRESSIONS)}, got '{compression}'")
        if compression == "jpeg" and self.dtype != np.uint8:
            raise InputError(
                f"{self.path}: JPEG holds 8-bit pixels, these are {self.dtype}; give --compression deflate"
            )
        self.levels = level_shapes(*shape)
        self.channels = channels
        self.colour = channels == 3 and self.dtype == np.uint8
        self.planes = 1 if self.colour else channels
        self.compression = compression
        self.quality = quality
        self.nearest = nearest
        self.pixel_size = pixel_size
        self.names = list(names)
        self.work = self.path.with_name(f".{self.path.name}.blocks")
        self._begin({"levels": self.levels, "channels": channels, "dtype": self.dtype.name, "quality": quality,
                     "compression": compression, "nearest": nearest, "recipe": recipe})  # fmt: skip

    def _begin(self, plan: dict[str, Any]) -> None:
        """Go on with blocks of the same plan, throw away any other."""
        note, wanted = self.work / "plan.json", json.dumps(plan, sort_keys=True)
        try:
            if self.work.is_dir() and (not note.is_file() or note.read_text() != wanted):
                shutil.rmtree(self.work)
            self.work.mkdir(exist_ok=True)
            with atomic_path(note) as partial:
                partial.write_text(wanted)
        except OSError as error:
            raise InputError(f"{self.path}: can't be written ({error.strerror or error})") from error

    @property
    def places(self) -> list[tuple[int, int]]:
        """First row and column of every block, in reading order."""
        height, width = self.levels[0]
        return [(row, column) for row in range(0, height, BLOCK) for column in range(0, width, BLOCK)]

    def missing(self) -> list[tuple[int, int]]:
        """Those whose block is still to come."""
        return [place for place in self.places if not self._file(*place).is_file()]

    def put(self, row: int, column: int, block: Array) -> int:
        """Keep a block (h, w, channels), of ``BLOCK`` pixels a side or what is left of the image; returns its bytes.

        Safe in threads.
        """
        members: dict[str, Array] = {}
        part = block
        for level in range(min(DEPTH + 1, len(self.levels))):
            if level:
                part = self._half(part)
            for i in range(0, part.shape[0], TILE):
                for j in range(0, part.shape[1], TILE):
                    tile = part[i : i + TILE, j : j + TILE]
                    for plane in range(self.planes):
                        name = f"{level}_{i // TILE}_{j // TILE}_{plane}"
                        members[name] = np.frombuffer(self._encoded(tile, plane), dtype=np.uint8)
        members["last"] = part
        file = self._file(row, column)
        with atomic_path(file) as partial, partial.open("wb") as stream:
            np.savez(stream, **members)  # type: ignore[arg-type]
        return sum(part.nbytes for part in members.values())

    def finish(self) -> None:
        """Write the file and remove the blocks.

        Raises:
            InputError: blocks are missing, or the file can't be written.
        """
        if self.missing():
            raise InputError(f"{self.path}: {len(self.missing())} of {len(self.places)} blocks are missing")
        for level in range(DEPTH + 1, len(self.levels)):
            self._coarse(level)
        temporary = self.path.with_name(f".{uuid4().hex[:8]}.{self.path.name}")
        try:
            self._write(temporary)
            if self.planes == 1:
                chain_levels(temporary)
            temporary.replace(self.path)
        except OSError as error:
            raise InputError(f"{self.path}: can't be written ({error.strerror or error})") from error
        finally:
            temporary.unlink(missing_ok=True)
        shutil.rmtree(self.work, ignore_errors=True)

    def _file(self, row: int, column: int) -> Path:
        return self.work / f"{row // BLOCK}_{column // BLOCK}.npz"

    def _half(self, part: Array) -> Array:
        return part[::2, ::2] if self.nearest else block_mean(part, 2)

    def _encoded(self, tile: Array, plane: int) -> bytes:
        values = tile if self.colour else tile[..., plane]
        down, right = TILE - tile.shape[0], TILE - tile.shape[1]
        if down or right:
            values = np.pad(values, [(0, down), (0, right), (0, 0)][: values.ndim], mode="edge")
        values = np.ascontiguousarray(values)
        if self.compression == "jpeg":
            space: dict[str, Any] = {}
            if self.colour:
                space = {"colorspace": "rgb", "outcolorspace": "ycbcr", "subsampling": (2, 2)}
            return bytes(imagecodecs.jpeg8_encode(values, level=self.quality, **space))
        if self.compression == "deflate":
            return bytes(imagecodecs.zlib_encode(values.tobytes(), level=4))
        return values.tobytes()

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
                tile = self._half(np.concatenate([np.concatenate(row, axis=1) for row in parts], axis=0))
                encoded = {str(p): np.frombuffer(self._encoded(tile, p), dtype=np.uint8) for p in range(self.planes)}
                with atomic_path(self._tile(level, i, j)) as partial, partial.open("wb") as stream:
                    np.savez(stream, shown=tile, **encoded)  # type: ignore[arg-type]

    def _inside(self, level: int, i: int, j: int) -> bool:
        return i * TILE < self.levels[level][0] and j * TILE < self.levels[level][1]

    def _tile(self, level: int, i: int, j: int) -> Path:
        return self.work / f"level{level}_{i}_{j}.npz"

    def _shown(self, level: int, i: int, j: int) -> Array:
        with np.load(self._tile(level, i, j)) as found:
            return np.asarray(found["shown"])

    def _last(self, level: int, i: int, j: int) -> Array:
        """The coarsest level of a block, which is one tile."""
        with np.load(self._file(i * BLOCK, j * BLOCK)) as found:
            return np.asarray(found["last"])

    def _tiles(self, level: int) -> Iterator[bytes]:
        """Compressed tiles of a level in the order of the file: by planes, rows, columns."""
        height, width = self.levels[level]
        side = 1 << max(DEPTH - level, 0)  # tiles of a block

        @lru_cache(maxsize=-(-width // (TILE * side)) + 1)
        def block(i: int, j: int) -> Any:
            return np.load(self._file(i * BLOCK, j * BLOCK))

        for plane in range(self.planes):
            for i in range(-(-height // TILE)):
                for j in range(-(-width // TILE)):
                    if level <= DEPTH:
                        found = block(i // side, j // side)
                        yield found[f"{level}_{i % side}_{j % side}_{plane}"].tobytes()
                    else:
                        with np.load(self._tile(level, i, j)) as tile:
                            yield tile[str(plane)].tobytes()

    def _write(self, path: Path) -> None:
        metadata: dict[str, Any] = {"axes": "YXS" if self.colour else "CYX"}
        resolution: tuple[float, float] | None = None
        if self.pixel_size is not None:
            rows, columns = self.pixel_size
            metadata |= {"PhysicalSizeX": columns, "PhysicalSizeY": rows,
                         "PhysicalSizeXUnit": "µm", "PhysicalSizeYUnit": "µm"}  # fmt: skip
            resolution = (1e4 / columns, 1e4 / rows)
        if self.names and not self.colour:
            metadata["Channel"] = {"Name": self.names}
        options: dict[str, Any] = {
            "dtype": self.dtype, "tile": (TILE, TILE), "photometric": "minisblack",
            "compression": {"jpeg": "jpeg", "deflate": "adobe_deflate", "none": None}[self.compression],
        }  # fmt: skip
        if self.colour:
            # tiles of YCbCr, which tifffile knows by the compression
            options |= {"photometric": "ycbcr" if self.compression == "jpeg" else "rgb", "planarconfig": "contig"}
            if self.compression == "jpeg":
                options["subsampling"] = (2, 2)
        ome = self.path.name.lower().endswith((".ome.tif", ".ome.tiff"))
        with tifffile.TiffWriter(path, bigtiff=True, ome=ome) as writer:
            for level, (height, width) in enumerate(self.levels):
                shape = (height, width, 3) if self.colour else (self.planes, height, width)
                scale = 1 / (1 << level)
                placed: dict[str, Any] = {}
                if resolution is not None:
                    placed = {"resolution": [value * scale for value in resolution], "resolutionunit": "CENTIMETER"}
                first: dict[str, Any] = {"subfiletype": 1, "metadata": None}
                if level == 0:
                    first = {"subifds": len(self.levels) - 1, "metadata": metadata if ome else None}
                writer.write(self._tiles(level), shape=shape, **options, **placed, **first)


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
