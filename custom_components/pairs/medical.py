"""NIfTI, MetaImage and NRRD: their headers looked at first, their pixels by ITK; and where volumes and slices lie."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import nibabel
import numpy as np
import SimpleITK as sitk

from custom_components.common.arrays import Array
from custom_components.common.errors import InputError
from custom_components.common.limits import DEFLATED, check_size
from custom_components.fields import geometry
from custom_components.fields.grid import LARGEST_SHEAR, Grid
from custom_components.pairs.formats import full_suffix
from custom_components.pairs.text_headers import check_header
from custom_components.pairs.volume_forms import Form

# ITK would ask the content of a file who reads it, and might find another form than the one whose header was looked at
READERS = {".mha": "MetaImageIO", ".mhd": "MetaImageIO", ".nrrd": "NrrdImageIO", ".nhdr": "NrrdImageIO"}
SHEARED = (
    "image {file} has a sheared geometry: the axes of its header are not at right angles, which ITK's images can't be. "
    "Resample it onto a grid at right angles first, or correct the header's sform"
)


@contextmanager
def telling_shear(file: Path) -> Iterator[None]:
    """ITK's word for axes that are not at right angles becomes ours, with the way out."""
    try:
        yield
    except RuntimeError as error:
        if "orthonormal" in str(error).lower():
            raise InputError(SHEARED.format(file=file)) from error
        raise


def _check_nifti(file: Path) -> None:
    """Refuse sizes that can't be, and a file that ends early, which ITK fills up in silence.

    Raises:
        EOFError: it ends early.
        InputError: it states more pixels than it or the memory can hold.
    """
    # the class is that of the header found, always one with a proxy to the pixels
    proxy = cast(Any, nibabel.load(file)).dataobj
    found, packed = file.stat().st_size, file.name.lower().endswith(".gz")
    itemsize = proxy.dtype.itemsize
    check_size(file, proxy.shape[::-1], itemsize, 1, found, DEFLATED if packed else 2)
    wanted = int(proxy.offset) + int(np.prod(proxy.shape)) * itemsize
    if packed:
        found = 0
        with gzip.open(file) as stream:  # raises EOFError by itself when the compressed stream is cut
            # as far as it is wanted: what follows may be made to unpack without end
            while found <= wanted and (block := stream.read(1 << 24)):
                found += len(block)
    if found < wanted:
        raise EOFError(f"{wanted - found} of {wanted} bytes are missing")


def read_medical(file: Path) -> tuple[Array, Grid, dict[str, Any]]:
    """Pixels, their grid, and further meta entries; what ``pairs.formats.UNREADABLE`` has may be raised.

    Raises:
        InputError: a header that can't be, or that names another file for its pixels.
    """
    suffix = full_suffix(file)
    if suffix in READERS:
        check_header(file)
        image = sitk.ReadImage(str(file), imageIO=READERS[suffix])
    else:
        _check_nifti(file)
        image = sitk.ReadImage(str(file), imageIO="NiftiImageIO")
    array = sitk.GetArrayFromImage(image)
    array = array[None] if image.GetNumberOfComponentsPerPixel() == 1 else np.moveaxis(array, -1, 0)
    direction = np.reshape(image.GetDirection(), (image.GetDimension(),) * 2)
    matrix = geometry.index_to_physical(image.GetSpacing(), image.GetOrigin(), direction)
    return placed(file, Form(array, matrix, _states_geometry(file)))


def placed(file: Path, form: Form) -> tuple[Array, Grid, dict[str, Any]]:
    """Pixels, their grid, and further meta entries; of a volume of one slice the section."""
    array, notes = form.array, {"notes": form.notes} if form.notes else {}
    if form.matrix is None:
        return array, Grid.of_pixels(array.shape[1:]), notes
    try:
        grid = Grid(array.shape[1:], form.matrix, "millimetre", known=form.known)
    except InputError as error:
        raise InputError(f"image {file} has a header whose geometry can't be: {error}") from error
    if grid.shear > LARGEST_SHEAR:
        raise InputError(SHEARED.format(file=file))
    if array.ndim == 4 and 1 in array.shape[1:]:  # a section stored as a volume of one slice
        axis = array.shape[1:].index(1)
        return array.take(0, 1 + axis), in_plane(grid, axis), {"slice_of": (grid, axis), **notes}
    return array, grid, notes


def _states_geometry(file: Path) -> bool:
    """Whether a header says where the image lies; a NIfTI file may leave it open."""
    if not full_suffix(file).startswith(".nii"):
        return True
    header = cast(Any, nibabel.load(file)).header
    try:
        return int(header["qform_code"]) > 0 or int(header["sform_code"]) > 0
    except (KeyError, ValueError, IndexError):  # NIfTI-2 and Analyze have them under other names or not at all
        return True


def in_plane(grid: Grid, axis: int) -> Grid:
    """The 2-D grid of a volume's single slice: its own spacing, and its axes as they run in the plane they are nearest.

    Args:
        grid: 3-D, one voxel along ``axis``.
        axis: of the array.
    """
    linear = np.delete(grid.matrix[:-1, :-1], axis, axis=1)
    kept = np.delete(np.arange(3), int(np.abs(grid.matrix[:-1, axis]).argmax()))
    flat = linear[kept]
    # of an oblique slice the nearest rotation or reflection, so that the spacing stays
    u, _, vt = np.linalg.svd(flat / np.linalg.norm(linear, axis=0))
    matrix = np.eye(3)
    matrix[:-1, :-1], matrix[:-1, -1] = (u @ vt) * np.linalg.norm(linear, axis=0), grid.matrix[:-1, -1][kept]
    return Grid(tuple(np.delete(grid.shape, axis)), matrix, grid.unit, grid.known)
