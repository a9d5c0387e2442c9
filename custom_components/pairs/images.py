"""Reading images; every image is (C, *spatial) with rows before columns.

This is the one place where an order is chosen: spatial axes are those of the array, (row, col) or
(slice, row, col), and the image's ``affine``, see ``fields.Grid``, carries the rest.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import imagecodecs
import numpy as np
import torch
from PIL import Image, ImageFile, ImageOps

from custom_components.common.arrays import Array
from custom_components.common.errors import InputError
from custom_components.common.limits import DEFLATED, RATIO, check_size
from custom_components.fields.grid import Grid
from custom_components.pairs.channels import matched_channel
from custom_components.pairs.formats import (
    MEDICAL,
    TIFF,
    PixelSize,
    full_suffix,
)  # fmt: skip
from custom_components.pairs.layout import Layout
from custom_components.pairs.medical import placed, read_medical, telling_shear
from custom_components.pairs.reading import AS_STORED, Reading
from custom_components.pairs.slides import is_large, is_slide, open_slide, read_shrunk, read_strided
from custom_components.pairs.tiff_pages import blend_alpha
from custom_components.pairs.tiff_slide import TiffSlide
from custom_components.pairs.unreadable import readable
from custom_components.pairs.volume_forms import reader_of

if TYPE_CHECKING:
    from monai.data.meta_tensor import MetaTensor

MIN_SIDE = 32
ORIENTATION = 274  # EXIF's tag
# of all that Pillow knows: others start programs (EPS) or open further files
PICTURE_FORMS = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "PPM", "JPEG2000", "TIFF")
LEAST_OVERLAP = 0.1  # share of a label map's field of view that lies in its image's


def read_image(path: str | Path, longest: float | None = None, reading: Reading = AS_STORED) -> MetaTensor:
    """Read PNG, JPEG, TIFF, OME-TIFF, NIfTI, MHA, NRRD, the forms of ``pairs.volume_forms``, or slides.

    Args:
        path: the file, or the folder of a DICOM series.
        longest: of an image of more than ``LARGE`` pixels that can be read by regions, read no more than is needed for
            a longest side of so many; None reads all of any image.
        reading: what the user says of the file.

    Returns:
        (C, *spatial) in the file's own dtype (wide unsigned types as the next signed one, up to int64), alpha
        blended onto white. ``affine`` places it in LPS: millimetres of medical formats, else pixels of the file at its
        full resolution. ``meta``: filename, dtype (of the file), pixel_size ((row, col) micrometres of what was read,
        or None), read_grid (``Grid`` of what was read), file_grid (of the file at its full resolution), layout
        (``Layout`` of the file), notes (what a user should know of how it was read), and of a section that was stored
        as a volume of one slice ``slice_of``, how it lies in that.

    Raises:
        InputError: missing, unreadable or truncated file, a sheared or impossible geometry, NaN or infinite pixels, a
            side below 32 pixels (2-D), no such channel.
    """
    file = Path(path)
    if not file.exists():
        raise InputError(f"image {file} does not exist")
    if not (file.is_file() or file.is_dir()):  # reading a pipe might wait, and a device give, for ever
        raise InputError(f"image {file} is neither a file nor a folder")
    suffix, read_form = full_suffix(file), reader_of(file)
    grid, size, more, layout = None, None, dict[str, Any](), None
    notes: tuple[str, ...] = ()
    with readable(file), telling_shear(file):
        if read_form is not None:
            array, whole, more = placed(file, read_form(file))
        elif suffix in MEDICAL:
            array, whole, more = read_medical(file)
        elif (longest is not None and is_large(file, reading)) or is_slide(file):
            array, size, whole, grid, layout, notes = _read_slide(file, longest, reading)
        elif suffix in TIFF:
            array, size, layout, notes = _read_tiff(file, reading)
            whole = Grid.of_pixels(array.shape[1:])
        else:
            array, layout, notes = _read_picture(file)
            size = (reading.pixel_size,) * 2 if reading.pixel_size else None
            whole = Grid.of_pixels(array.shape[1:])
    _check_pixels(array, file)
    if array.dtype == bool:
        array = array.astype(np.uint8) * 255
    if layout is None:  # of medical formats, whose colours are three components of 8 bit
        colours = len(array) == 3 and array.dtype == np.uint8
        layout = Layout("rgb" if colours else "grey" if len(array) == 1 else "channels")
    channel, told = matched_channel(layout, len(array), reading.channel, file)
    name = array.dtype.name
    # torch lacks most operations on unsigned 16 and 32 bit
    wide = {"uint16": np.int32, "uint32": np.int64, "uint64": np.int64}.get(name, array.dtype)
    tensor = torch.from_numpy(np.require(array.astype(wide, copy=False), requirements=["C", "W"]))
    grid = grid or whole
    meta = {
        "filename": str(file), "dtype": name, "pixel_size": size, "read_grid": grid, "file_grid": whole,
        "layout": layout, "channel": channel, "notes": (*notes, *more.pop("notes", ()), *told), **more,
    }  # fmt: skip
    return grid.on(tensor, meta)


def file_pixel_size(image: MetaTensor) -> PixelSize | None:
    """(row, col) micrometres of a pixel of the file that ``image`` was read from, at full resolution."""
    if image.meta["pixel_size"] is None:
        return None
    read, file = image.meta["read_grid"], image.meta["file_grid"]
    rows, columns = np.array(image.meta["pixel_size"]) * file.spacing / read.spacing
    return float(rows), float(columns)


def read_labels(path: str | Path, image: Grid, longest: float | None = None) -> tuple[Array, Grid]:
    """Read a label map, nearest pixels alone where it is large, and say where it lies.

    Args:
        path: the file.
        image: grid of the file that it labels.
        longest: as in ``read_image``.

    Returns:
        (1, *spatial) in the file's dtype, and its grid: by its own header where both are of medical formats, else it
        covers the field of view of its image, in the same number of pixels or fewer.

    Raises:
        InputError: see ``read_image``; it has several channels, other dimensions or proportions than its image, or lies
            elsewhere.
    """
    file = Path(path)
    if longest is not None and file.is_file() and full_suffix(file) not in MEDICAL and is_large(file):
        with open_slide(file) as slide:
            shape = slide.levels[0]
            factor = max(1, int(max(shape) // max(longest, 1)))
            array: Array = np.moveaxis(read_strided(slide, factor), -1, 0)
        own, header = Grid(shape, np.eye(3)), False
    else:
        found = read_image(file)
        own, factor, header = found.meta["file_grid"], 1, found.meta["file_grid"].known and image.known
        array = np.asarray(found.numpy()).astype(found.meta["dtype"])
    if len(array) != 1:
        raise InputError(f"label map {file} has {len(array)} channels; give one with a single channel")
    sizes = " and ".join(" x ".join(str(side) for side in reversed(shape)) for shape in (own.shape, image.shape))
    if len(own.shape) != len(image.shape):
        raise InputError(f"label map {file} and its image have different numbers of dimensions: {sizes}")
    if header:
        if own.overlap(image) < LEAST_OVERLAP:
            raise InputError(
                f"label map {file} lies elsewhere than its image by its header: {own.overlap(image):.0%} of it are "
                f"inside (sizes {sizes}); copy the image's geometry into it if they share their voxels"
            )
        return array, own
    grid = image if own.shape == image.shape else image.level(own.shape)
    # a smaller map of the same section has its proportions, to a pixel
    if own.shape != image.shape and np.ptp(np.divide(image.shape, own.shape)) > max(image.shape) / min(own.shape) ** 2:
        raise InputError(f"label map {file} and its image have different sizes: {sizes}")
    return array, grid.strided(factor) if factor > 1 else grid


def _read_slide(
    file: Path, longest: float | None, reading: Reading
) -> tuple[Array, PixelSize | None, Grid, Grid, Layout, tuple[str, ...]]:
    """Pixels, their size, the file's grid and theirs, how they are stored, and notes."""
    with open_slide(file, reading) as slide:
        whole = Grid.of_pixels(slide.levels[0])
        if longest is None:
            check_size(file, slide.levels[0], slide.dtype.itemsize, slide.channels)
        array, grid = read_shrunk(slide, longest or max(slide.levels[0]), whole)
        rows, columns = (float(step) for step in grid.spacing)
        size = slide.pixel_size
        own = None if size is None else (size[0] * rows, size[1] * columns)
        return np.ascontiguousarray(np.moveaxis(array, -1, 0)), own, whole, grid, slide.layout, slide.notes


def _check_pixels(array: Array, file: Path) -> None:
    if array.dtype.kind not in "buif":
        raise InputError(f"image {file} holds {array.dtype.name} pixels; convert them to integers or real numbers")
    if array.ndim not in (3, 4):
        raise InputError(f"image {file} has {array.ndim - 1} dimensions {array.shape[1:]}; 2 or 3 can be registered")
    if min(array.shape[1:]) < MIN_SIDE and array.ndim == 3:
        height, width = array.shape[1:]
        raise InputError(f"image {file} is {width} x {height} pixels; sides below {MIN_SIDE} can't be registered")
    if np.issubdtype(array.dtype, np.floating):
        bad = int((~np.isfinite(array)).sum())
        if bad:
            raise InputError(
                f"image {file} has {bad} pixels that are NaN or infinite; replace them before registration"
            )


@contextmanager
def _pillow_for_slides() -> Iterator[None]:
    """Pillow without its bomb guard, as slides are larger, and strict about files that end too early."""
    before = Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES
    Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES = None, False
    try:
        yield
    finally:
        Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES = before


def _is_deep_colour_png(file: Path) -> bool:
    """Whether the file is a PNG of 16-bit colour or alpha, which Pillow would cut down to 8 bits."""
    with file.open("rb") as stream:
        head = stream.read(26)
    return head.startswith(b"\x89PNG") and len(head) == 26 and head[24] == 16 and head[25] in (2, 4, 6)


def _read_picture(file: Path) -> tuple[Array, Layout, tuple[str, ...]]:
    """Pixels (C, H, W) as a viewer shows them, how they are stored, and notes."""
    stored = file.stat().st_size
    with _pillow_for_slides(), Image.open(file, formats=PICTURE_FORMS) as opened:
        itemsize = 2 if opened.mode.startswith("I;16") else 4 if opened.mode in "IF" else 1
        channels = len(opened.getbands())
        check_size(file, opened.size[::-1], itemsize, channels, stored, DEFLATED if opened.format == "PNG" else RATIO)
    if _is_deep_colour_png(file):
        deep = np.asarray(imagecodecs.png_decode(file.read_bytes()))
        array = blend_alpha(deep) if deep.shape[-1] in (2, 4) else deep
        return np.moveaxis(array, -1, 0), Layout("rgb" if array.shape[-1] == 3 else "grey"), ()
    with _pillow_for_slides(), Image.open(file, formats=PICTURE_FORMS) as opened:
        turned = ImageOps.exif_transpose(opened)
        notes = () if opened.getexif().get(ORIENTATION, 1) == 1 else ("turned as its EXIF orientation says",)
        picture: Image.Image = turned
        if "transparency" in opened.info or turned.mode == "PA":
            picture = turned.convert("RGBA")
        elif turned.mode in ("P", "CMYK", "YCbCr", "LAB", "HSV"):
            picture = turned.convert("RGB")
        array = np.asarray(picture)
        if picture.mode in ("RGBA", "LA"):
            array = blend_alpha(array)
        icc = opened.info.get("icc_profile")
    array = array[None] if array.ndim == 2 else np.moveaxis(array, -1, 0)
    return array, Layout("rgb" if len(array) == 3 else "grey", icc=icc or None), notes


def _read_tiff(file: Path, reading: Reading) -> tuple[Array, PixelSize | None, Layout, tuple[str, ...]]:
    """Pixels (C, H, W) as a viewer shows them, their size, how they are stored, and notes."""
    with TiffSlide(file, reading) as slide:
        check_size(file, slide.levels[0], slide.dtype.itemsize, slide.channels)
        array = slide.read(0, 0, 0, *slide.levels[0])
        return np.ascontiguousarray(np.moveaxis(array, -1, 0)), slide.pixel_size, slide.layout, slide.notes
