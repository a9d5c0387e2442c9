"""How an image is stored in a TIFF: one answer for whole images and for slides that are written tile by tile."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np

from custom_components.common.arrays import Array
from custom_components.common.errors import InputError
from custom_components.pairs.formats import PixelSize
from custom_components.pairs.layout import Layout

QUALITY = 90  # of JPEG, where none is asked for
TILE = 512  # side, where the source has none that fits
STRIP = 1 << 18  # bytes of a strip, about
# of ours -> tifffile's; JPEG 2000 without loss
CODES = {"jpeg": "jpeg", "deflate": "adobe_deflate", "lzw": "lzw", "zstd": "zstd", "jpeg2000": "jpeg2000", "none": None}
OME_TYPES = ("int8", "int16", "int32", "uint8", "uint16", "uint32", "float32", "float64", "bool")
JPEG2000_TYPES = ("uint8", "uint16")
COLOURED = ("uint8", "uint16", "float32")
IMAGEJ_TYPES = ("uint8", "uint16", "float32")
CLASSIC = 3_000_000_000  # bytes of pixels that a TIFF holds without being a BigTIFF
Shape = tuple[int, int]


@dataclass(frozen=True)
class TiffForm:
    """Of a file to write.

    Attributes:
        layout: that fits the pixels, see ``fitting``.
        channels: of a pixel.
        dtype: of a pixel's channel.
        compression: one of ``CODES``.
        tile: rows and columns, or None for strips.
        predictor: whether neighbouring pixels are subtracted before they are compressed.
        pixel_size: (row, col) micrometres at full resolution, or None.
        ome: whether the file is an OME-TIFF.
        quality: of JPEG, to 100.
        imagej: whether it is a hyperstack as ImageJ writes it, which names channels without OME's metadata.
    """

    layout: Layout
    channels: int
    dtype: np.dtype[Any]
    compression: str
    tile: Shape | None = (TILE, TILE)
    predictor: bool = False
    pixel_size: PixelSize | None = None
    ome: bool = False
    quality: int = QUALITY
    imagej: bool = False

    @property
    def rgb(self) -> bool:
        """Whether the channels of a pixel are stored together, as colours."""
        return self.layout.kind == "rgb"

    @property
    def planes(self) -> int:
        """Pages of one level."""
        return 1 if self.rgb else self.channels


def is_ome_name(path: str | Path) -> bool:
    """Whether a file's name says that it is an OME-TIFF."""
    return Path(path).name.lower().endswith((".ome.tif", ".ome.tiff", ".ome.btf"))


def fitting(layout: Layout | None, channels: int, dtype: Any, dimensions: int = 2) -> Layout:
    """A layout as the pixels have it: of their number of channels, with names and colours for all of them or none.

    Args:
        layout: of the source; None takes three channels of 8 or 16 bit without sign for RGB.
        channels: that are there.
        dtype: of a pixel's channel.
        dimensions: of the image; volumes have no colours.
    """
    if layout is None:
        layout = Layout("rgb" if channels == 3 and np.dtype(dtype).name in ("uint8", "uint16") else "channels")
    # wide integers are no colours for any program
    rgb = layout.kind == "rgb" and channels == 3 and dimensions == 2 and np.dtype(dtype).name in COLOURED
    return replace(
        layout,
        kind="rgb" if rgb else "channels" if channels > 1 else "grey",
        names=layout.names if len(layout.names) == channels else (),
        colours=layout.colours if len(layout.colours) == channels else (),
        icc=layout.icc if rgb or channels == 1 else None,
    )


def kept_compression(layout: Layout, dtype: Any, nearest: bool = False, tiled: bool = True) -> str:
    """The compression of a warped image, of the kind that its source has.

    Args:
        layout: of the source.
        dtype: of a pixel's channel.
        nearest: the pixels are labels, which JPEG would mix.
        tiled: the image is written in tiles.

    Returns:
        One of ``CODES``: JPEG for 8-bit pixels that were JPEG, and for RGB that was JPEG 2000, as scanners write it
        with loss; without loss for all others. What was uncompressed stays so in strips, which programs map into
        memory, and deflate takes the place of LZW in tiles, where it is smaller.
    """
    kind = np.dtype(dtype)
    rgb, compression = layout.kind == "rgb", layout.compression
    if kind == np.uint8 and not nearest and (compression == "jpeg" or (compression == "jpeg2000" and rgb)):
        return "jpeg"
    if compression == "jpeg2000" and kind.name in JPEG2000_TYPES and not rgb and tiled:
        return "jpeg2000"
    if tiled:
        return "zstd" if compression == "zstd" else "deflate"
    return compression if compression in ("none", "lzw", "zstd") else "deflate"


def can_predict(dtype: Any, compression: str) -> bool:
    """Whether differences of pixels may be compressed instead: every reader knows those of integers alone."""
    return compression in ("deflate", "lzw", "zstd") and np.dtype(dtype).kind in "ui" and np.dtype(dtype).itemsize <= 4


def encoded(values: Array, form: TiffForm) -> bytes:
    """A tile or strip (h, w) or (h, w, 3), compressed."""
    values = np.ascontiguousarray(values)
    if form.compression == "jpeg":
        space: dict[str, Any] = {}
        if values.ndim == 3:
            space = {"colorspace": "rgb", "outcolorspace": "ycbcr", "subsampling": (2, 2)}
        return bytes(imagecodecs.jpeg8_encode(values, level=form.quality, **space))
    if form.dtype == np.bool_:
        values = np.packbits(values, axis=-1)  # tifffile states one bit a pixel
    if form.compression == "jpeg2000":
        return bytes(imagecodecs.jpeg2k_encode(values, level=0, codecformat="j2k", reversible=True))
    if form.predictor:
        values = imagecodecs.delta_encode(values, axis=1)
    data = values.tobytes()
    if form.compression == "deflate":
        return bytes(imagecodecs.deflate_encode(data, level=6))  # libdeflate writes zlib's stream
    if form.compression == "lzw":
        return bytes(imagecodecs.lzw_encode(data))
    if form.compression == "zstd":
        return bytes(imagecodecs.zstd_encode(data, level=9))
    return data


def pages(array: Array, form: TiffForm) -> list[Array]:
    """(H, W, C) as the pages of a level."""
    return [array] if form.rgb else list(np.moveaxis(array, -1, 0))


def segments(pages: Iterable[Array], form: TiffForm) -> Iterator[bytes]:
    """Compressed tiles or strips of pages (h, w) or (h, w, 3), in the order of the file: by pages, rows, columns."""
    for page in pages:
        if form.tile is None:
            step = rows_per_strip(form, page.shape[0], page.shape[1])
            yield from (encoded(page[row : row + step], form) for row in range(0, page.shape[0], step))
            continue
        down, right = form.tile
        for row in range(0, page.shape[0], down):
            for column in range(0, page.shape[1], right):
                yield encoded(whole_tile(page[row : row + down, column : column + right], form.tile), form)


def whole_tile(tile: Array, size: Shape) -> Array:
    """A tile (h, w) or (h, w, 3) at the image's rim, filled up by its last row and column."""
    down, right = size[0] - tile.shape[0], size[1] - tile.shape[1]
    if down or right:
        tile = np.pad(tile, [(0, down), (0, right), (0, 0)][: tile.ndim], mode="edge")
    return tile


def rows_per_strip(form: TiffForm, height: int, width: int) -> int:
    """Of pages of a size in pixels."""
    row = width * form.dtype.itemsize * (3 if form.rgb else 1)
    return max(1, min(height, STRIP // row))


def level_options(form: TiffForm, shape: tuple[int, ...], level: int, levels: int) -> dict[str, Any]:
    """What ``tifffile.TiffWriter.write`` needs for one level of a pyramid.

    Args:
        form: of the file.
        shape: (height, width) of the level; of volumes (slices, height, width).
        level: 0 is the full resolution.
        levels: how many there are.

    Returns:
        Its arguments beside the segments: tags of colours, compression, tiles and resolution, and for the first level
        the metadata, which name and colour the channels.
    """
    options: dict[str, Any] = {
        "shape": (*shape, 3) if form.rgb else (form.planes, *shape), "dtype": form.dtype, "photometric": "minisblack",
        "compression": CODES[form.compression], "predictor": 2 if form.predictor else None,
        "iccprofile": form.layout.icc,
    }  # fmt: skip
    options |= {"tile": form.tile} if form.tile else {"rowsperstrip": rows_per_strip(form, *shape[-2:])}
    if form.rgb:
        # tiles of YCbCr, which tifffile knows by the compression
        jpeg = form.compression == "jpeg"
        options |= {"photometric": "ycbcr" if jpeg else "rgb", "planarconfig": "contig"}
        options |= {"subsampling": (2, 2)} if jpeg else {}
    if form.pixel_size is not None:
        rows, columns = (1e4 / (size * (1 << level)) for size in form.pixel_size)
        options |= {"resolution": (columns, rows), "resolutionunit": "CENTIMETER"}
    if level:
        own = not form.ome and form.layout.kind == "channels"  # tifffile's own description is asked for on each level
        return options | {"subfiletype": 1, "metadata": {"axes": "CYX"} if own else None}
    return options | {"metadata": metadata(form, len(shape)), "subifds": levels - 1 if levels > 1 else None}


def metadata(form: TiffForm, dimensions: int = 2) -> dict[str, Any] | None:
    """What tifffile makes OME-XML of, or ImageJ's description, or its own; None where the pixels say all."""
    found: dict[str, Any] = {"axes": "YXS" if form.rgb else f"C{'ZYX'[3 - dimensions :]}"}
    names, colours = form.layout.names, form.layout.colours
    if form.ome:
        if form.pixel_size is not None:
            rows, columns = form.pixel_size
            found |= {"PhysicalSizeX": columns, "PhysicalSizeY": rows}
            found |= {"PhysicalSizeXUnit": "µm", "PhysicalSizeYUnit": "µm"}
        channel: dict[str, Any] = {"Name": list(names)} if names else {}
        channel |= {"Color": [ome_colour(colour) for colour in colours]} if colours else {}
        return found | ({"Channel": channel} if channel and not form.rgb else {})
    if form.imagej:
        found["mode"] = "composite" if form.channels <= 7 else "color"  # ImageJ overlays no more
        found |= {"Labels": list(names)} if names else {}
        return found | ({"LUTs": [imagej_table(colour) for colour in colours]} if colours else {})
    if form.layout.kind != "channels":
        return None
    channel = {"Name": list(names)} if names else {}
    channel |= {"Color": [list(colour) for colour in colours]} if colours else {}
    return found | ({"Channel": channel} if channel else {})


def ome_colour(colour: tuple[int, int, int]) -> int:
    """(red, green, blue) as OME's signed number of red, green, blue and an opaque alpha."""
    red, green, blue = colour
    number = (red << 24) | (green << 16) | (blue << 8) | 255
    return number - (1 << 32) if number >= 1 << 31 else number


def imagej_table(colour: tuple[int, int, int]) -> Array:
    """(3, 256) uint8, from black to the colour."""
    return np.asarray(np.outer(colour, np.arange(256)) // 255).astype(np.uint8)


def check_holds(path: Path, form: TiffForm) -> None:
    """Raise ``InputError`` where OME has no name for such pixels, or the compression can't take them."""
    if form.compression == "jpeg" and form.dtype != np.uint8:
        raise InputError(f"{path}: JPEG holds 8-bit pixels, these are {form.dtype}; give --compression deflate")
    if form.compression == "jpeg2000" and form.dtype.name not in JPEG2000_TYPES:
        raise InputError(
            f"{path}: JPEG 2000 holds 8 and 16 bit without sign, these are {form.dtype}; give --compression deflate"
        )
    if form.ome and form.dtype.name not in OME_TYPES:
        raise InputError(f"{path}: OME-TIFF can't hold {form.dtype} pixels; choose .tif, or convert the image to int32")
