"""Writing whole images, (C, *spatial) with rows before columns, in the form that the suffix names."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk
from PIL import Image

from custom_components.common.arrays import Array
from custom_components.common.errors import InputError
from custom_components.fields import geometry
from custom_components.fields.grid import Grid
from custom_components.pairs.atomic import atomic_path
from custom_components.pairs.formats import MEDICAL, PICTURES, TIFF, PixelSize, first_line, full_suffix
from custom_components.pairs.layout import Layout
from custom_components.pairs.slides import block_mean
from custom_components.pairs.tiff_file import level_shapes, write_levels
from custom_components.pairs.tiff_form import (
    CLASSIC,
    IMAGEJ_TYPES,
    TILE,
    Shape,
    TiffForm,
    can_predict,
    fitting,
    is_ome_name,
    kept_compression,
    pages,
    segments,
)
from custom_components.pairs.zarr_form import write_zarr

ZARR = (".zarr",)
SAMPLE = 256  # rows that two compressions are tried on


def write_image(
    path: str | Path,
    array: Array,
    index_to_physical: npt.NDArray[np.float64] | None = None,
    pixel_size: PixelSize | None = None,
    slice_of: tuple[Grid, int] | None = None,
    layout: Layout | None = None,
    nearest: bool = False,
    zarr_version: str = "0.4",
) -> None:
    """Write (C, *spatial) in the form that the suffix names, whole or not at all.

    Args:
        path: .png, .jpg, .tif, .ome.tif, .ome.zarr, .nii.gz, .mha, .mhd or .nrrd.
        array: its dtype is kept; PNG and JPEG take 8 (PNG also 16) bit and 1 or 3 channels.
        index_to_physical: (D+1, D+1), stored by the medical formats.
        pixel_size: (row, col) micrometres, stored by TIFF and OME-Zarr.
        slice_of: the volume's grid and array axis that a 2-D image is the single slice of; the medical formats then
            store that volume again.
        layout: how the source was stored, which TIFF keeps: RGB or channels with their names and colours, tiles, a
            pyramid, the kind of compression, the colour profile. None: three channels of 8 or 16 bit are RGB.
        nearest: the pixels are labels: never stored with loss, and levels take every second pixel.
        zarr_version: of OME-Zarr, "0.4" or "0.5".

    Raises:
        InputError: the format can't hold such an image, or the folder can't be written.
    """
    target, suffix = Path(path), full_suffix(path)
    known = (*PICTURES, *TIFF, *MEDICAL, *ZARR)
    if suffix not in known:
        raise InputError(f"{target}: can't write '{suffix}'; choose one of {', '.join(known)}")
    if not target.parent.is_dir():
        raise InputError(f"{target}: can't be written, there is no folder {target.parent}")
    try:
        if suffix in MEDICAL:
            if slice_of is not None and array.ndim == 3 and len(slice_of[0].shape) == 3:
                array, index_to_physical = np.expand_dims(array, 1 + slice_of[1]), slice_of[0].matrix
            _write_medical(target, array, index_to_physical)
            return
        if suffix in ZARR:
            _write_zarr(target, array, index_to_physical, pixel_size, layout, nearest, zarr_version)
            return
        with atomic_path(target) as partial:
            if suffix in TIFF:
                _write_tiff(partial, array, pixel_size, layout, nearest)
            else:
                _write_picture(partial, target, array, layout)
    except (OSError, RuntimeError, TypeError, ValueError, LookupError) as error:
        what = f"{array.dtype} of shape {array.shape} as {suffix}"
        raise InputError(f"{target}: can't write {what}: {first_line(error)}") from error


def _write_picture(path: Path, target: Path, array: Array, layout: Layout | None) -> None:
    if len(array) == 3 and fitting(layout, 3, array.dtype).kind != "rgb" and array.dtype == np.uint8:
        raise InputError(
            f"{target}: the 3 channels are not red, green and blue, as {full_suffix(path)} has them; choose .tif"
        )
    if array.dtype == np.uint8 and len(array) in (1, 3):
        Image.fromarray(array[0] if len(array) == 1 else np.moveaxis(array, 0, -1)).save(path)
    elif array.dtype == np.uint16 and len(array) == 1 and full_suffix(path) == ".png":
        Image.fromarray(array[0]).save(path)
    else:
        raise InputError(
            f"{target}: {full_suffix(path)} can't hold {len(array)} channels of {array.dtype}; choose .tif"
        )


def _write_tiff(path: Path, array: Array, pixel_size: PixelSize | None, layout: Layout | None, nearest: bool) -> None:
    form = tiff_form(path, array, pixel_size, layout, nearest)
    if array.ndim == 4:
        write_levels(path, form, [array.shape[1:]], [segments(array.reshape(-1, *array.shape[2:]), form)])
        return
    height, width = array.shape[1:]
    pyramid = form.tile is not None and form.layout.levels > 1
    shapes = level_shapes(height, width, max(form.tile or (TILE,)), 2) if pyramid else [(height, width)]
    levels = _levels(np.moveaxis(array, 0, -1), len(shapes), nearest)
    write_levels(path, form, shapes, (segments(pages(level, form), form) for level in levels))


def tiff_form(
    path: Path, array: Array, pixel_size: PixelSize | None, layout: Layout | None, nearest: bool = False
) -> TiffForm:
    """How (C, *spatial) is stored as a TIFF.

    Args:
        path: whose name tells OME-TIFF from others.
        array: the pixels.
        pixel_size: (row, col) micrometres, or None.
        layout: of the source, or None.
        nearest: the pixels are labels.
    """
    fitted, flat = fitting(layout, len(array), array.dtype, array.ndim - 1), array.ndim == 4
    tiled = not flat and (fitted.tile is not None or fitted.levels > 1)
    compression = kept_compression(fitted, array.dtype, nearest or flat, tiled)
    tile, ome = _tile(fitted.tile) if tiled or compression == "jpeg" else None, is_ome_name(path)
    plain = not ome and tile is None and not flat and fitted.kind == "channels"
    form = TiffForm(
        fitted, len(array), array.dtype, compression, tile, can_predict(array.dtype, compression) and not nearest,
        pixel_size, ome, imagej=plain and array.dtype.name in IMAGEJ_TYPES and array.nbytes <= CLASSIC,
    )  # fmt: skip
    return _for_imagej(form, array) if tile is None and compression == "deflate" else form


def _for_imagej(form: TiffForm, array: Array) -> TiffForm:
    """Strips that ImageJ reads too, which knows differences of pixels under LZW alone: the smaller on a sample."""
    plain = replace(form, predictor=False)
    if not form.predictor:
        return plain
    other = replace(form, compression="lzw")
    rows = array.shape[-2]
    sample = array[..., max((rows - SAMPLE) // 2, 0) : (rows + SAMPLE) // 2, :]
    sample = sample[:, sample.shape[1] // 2] if sample.ndim == 4 else sample
    sizes = [sum(map(len, segments(pages(np.moveaxis(sample, 0, -1), way), way))) for way in (plain, other)]
    return other if sizes[1] < sizes[0] else plain


def _write_zarr(
    path: Path, array: Array, matrix: npt.NDArray[np.float64] | None, pixel_size: PixelSize | None,
    layout: Layout | None, nearest: bool, version: str,
) -> None:  # fmt: skip
    fitted = fitting(layout, len(array), array.dtype, array.ndim - 1)
    if array.ndim == 4:
        spacing = None if matrix is None else geometry.spacing_origin_direction(matrix)[0][::-1]
        steps = None if spacing is None else [float(step) for step in spacing]
        write_zarr(path, [array], fitted, steps, "millimeter", version, nearest)
        return
    shapes = level_shapes(*array.shape[1:])
    levels = [np.moveaxis(level, -1, 0) for level in _levels(np.moveaxis(array, 0, -1), len(shapes), nearest)]
    write_zarr(path, levels, fitted, pixel_size, "micrometer", version, nearest)


def _tile(tile: Shape | None) -> Shape:
    """The source's own, if it is one that TIFF can have and that is worth having."""
    return tile if tile and all(side % 16 == 0 and 64 <= side <= 4096 for side in tile) else (TILE, TILE)


def _levels(array: Array, count: int, nearest: bool) -> Iterator[Array]:
    """(H, W, C) of so many levels, each half of the one before."""
    for level in range(count):
        if level:
            array = array[::2, ::2] if nearest else block_mean(array, 2)
        yield array


def _write_medical(path: Path, array: Array, matrix: npt.NDArray[np.float64] | None) -> None:
    vector = len(array) > 1
    values = np.ascontiguousarray(np.moveaxis(array, 0, -1) if vector else array[0])
    image = sitk.GetImageFromArray(values, isVector=vector)
    if matrix is not None:
        spacing, origin, direction = geometry.spacing_origin_direction(matrix)
        image.SetSpacing([float(v) for v in spacing])
        image.SetOrigin([float(v) for v in origin])
        image.SetDirection([float(v) for v in np.ravel(direction)])
    # .mhd is a header that names a second file, so both are made under their own names and the header moves last
    with TemporaryDirectory(prefix=".", dir=path.parent) as folder:
        sitk.WriteImage(image, str(Path(folder) / path.name))
        for part in sorted(Path(folder).iterdir(), key=lambda part: part.name == path.name):
            os.replace(part, path.with_name(part.name))
