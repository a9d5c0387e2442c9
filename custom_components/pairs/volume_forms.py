"""Further forms of images: DICOM series and files, FreeSurfer's MGZ, Analyze, and NumPy's arrays; one function a form.

Each gives a ``Form``: the pixels, where they lie, and what a user should know of how they were read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import nibabel
import numpy as np
import SimpleITK as sitk

from custom_components.common.arrays import Array, Matrix
from custom_components.common.errors import InputError
from custom_components.common.limits import DEFLATED, RATIO, check_size
from custom_components.fields import geometry
from custom_components.pairs.dicom_class import is_dicom_slide
from custom_components.pairs.formats import ARRAYS, full_suffix, is_image

DICOM = (".dcm", ".ima")
FREESURFER = (".mgz", ".mgh")
ANALYZE = (".img", ".hdr")
CHANNELS = (1, 2, 3, 4)  # of an array whose last axis is taken for channels
UNEVEN = 0.1  # share of the slices' distance by which one may lie elsewhere
# SOP classes of which a slice or frame states where it lies: CT, MR, PET, their enhanced forms, dose, segmentation
PLACED = tuple(
    f"1.2.840.10008.5.1.4.1.1.{end}"
    for end in ("2", "2.1", "2.2", "4", "4.1", "4.4", "128", "128.1", "130", "481.2", "66.4", "13.1.1", "13.1.3")
)
SERIES, DESCRIPTION, CLASS = "0020|000e", "0008|103e", "0008|0016"
POSITION, ORIENTATION = "0020|0032", "0020|0037"
TYPES = {
    sitk.sitkUInt8: np.uint8, sitk.sitkInt8: np.int8, sitk.sitkVectorUInt8: np.uint8, sitk.sitkInt32: np.int32,
    sitk.sitkUInt32: np.uint32, sitk.sitkFloat32: np.float32, sitk.sitkFloat64: np.float64,
}  # fmt: skip
NOT_STATED = "{what} states no {lacks}; {so}"


@dataclass(frozen=True)
class Form:
    """An image as it was read.

    Attributes:
        array: (C, *spatial).
        matrix: (D+1, D+1) array index -> LPS millimetres; None where the file knows of none.
        known: whether the file states where the image lies.
        notes: what a user should know, a sentence each.
    """

    array: Array
    matrix: Matrix | None
    known: bool
    notes: tuple[str, ...] = ()


def reader_of(file: Path) -> Callable[[Path], Form] | None:
    """The function that reads a file or folder; None for the forms that ``pairs.images`` reads itself, and slides."""
    suffix = full_suffix(file)
    if is_dicom_slide(file):
        return None
    if file.is_dir():
        return None if is_image(file) else read_series  # an OME-Zarr is a folder too
    if suffix in ARRAYS:
        return read_array
    if suffix in FREESURFER:
        return read_mgh
    if suffix in ANALYZE:
        return read_analyze
    return read_dicom if suffix in DICOM or is_dicom(file) else None


def is_dicom(file: Path) -> bool:
    """Whether a file begins as DICOM does, whose files often have no suffix."""
    try:
        with file.open("rb") as stream:
            return stream.read(132)[128:] == b"DICM"
    except OSError:
        return False


def read_series(folder: Path) -> Form:
    """A DICOM series by its folder; of several the largest, which is said.

    Raises:
        InputError: the folder holds no series, several of the largest size, or slices at uneven places.
    """
    series = sitk.ImageSeriesReader()
    with _itk_silent():
        found = {uid: series.GetGDCMSeriesFileNames(str(folder), uid) for uid in series.GetGDCMSeriesIDs(str(folder))}
    if not found:
        raise InputError(f"image {folder} is a folder without a DICOM series; give a file, or the folder of one series")
    chosen, *others = sorted(found, key=lambda uid: len(found[uid]), reverse=True)
    notes: tuple[str, ...] = ()
    if others:
        named = [f"{_description(found[uid][0])} ({len(found[uid])} files)" for uid in (chosen, *others)]
        if len(found[others[0]]) == len(found[chosen]):
            raise InputError(
                f"image {folder} holds {len(found)} DICOM series, several of the largest size: {', '.join(named)}; "
                "put the files of the one you mean into a folder of its own"
            )
        rest = ", ".join(named[1:])
        notes = (f"{folder.name} holds {len(found)} DICOM series; read is the largest, {named[0]}, not {rest}",)
    files = found[chosen]
    if len(files) == 1:
        form = read_dicom(Path(files[0]))
        return Form(form.array, form.matrix, form.known, (*notes, *form.notes))
    _check_places(folder, files)
    _check_dicom(folder, files[0], len(files))
    series.SetFileNames(files)
    image = series.Execute()
    return Form(_channels_first(image), _matrix(image), True, notes)


def read_dicom(file: Path) -> Form:
    """A DICOM file: the frames of a volume, or a single image, which is a section."""
    _check_dicom(file, str(file))
    image = sitk.ReadImage(str(file), imageIO="GDCMImageIO")
    stated = image.GetMetaData(CLASS) if image.HasMetaDataKey(CLASS) else ""
    notes, known = [], stated in PLACED
    frames = image.GetSize()[2] if image.GetDimension() > 2 else 1
    if frames == 1 and known:
        notes.append(f"{file.name} is one slice; give the folder of its DICOM series to register the volume")
    elif not known:
        lacks = "place of its frames" if frames > 1 else "place in space"
        notes.append(NOT_STATED.format(what=file.name, lacks=lacks, so="its spacing is taken as it is"))
    return Form(_channels_first(image), _matrix(image), known, tuple(notes))


def read_mgh(file: Path) -> Form:
    """FreeSurfer's MGH or MGZ; several frames become channels."""
    image = cast(Any, nibabel.load(file))
    _check_proxy(file, image, file.stat().st_size, DEFLATED if file.suffix.lower() == ".mgz" else 2)
    return _by_nibabel(image, known=True)


def read_analyze(file: Path) -> Form:
    """An .img with its .hdr, by either name; of NIfTI's kind with its geometry, of Analyze's without an orientation."""
    image = cast(Any, nibabel.load(file))
    _check_proxy(file, image, file.with_suffix(".img").stat().st_size, 2)
    if isinstance(image, nibabel.Nifti1Pair):
        header = image.header
        return _by_nibabel(image, known=int(header["qform_code"]) > 0 or int(header["sform_code"]) > 0)
    known = file.with_suffix(".mat").is_file()  # SPM's
    so = "its axes are taken as left, posterior, superior from the first voxel on, look whether the result is mirrored"
    # nibabel's own matrix mirrors x by a habit of SPM's; what is certain is the spacing alone
    note = NOT_STATED.format(what=f"{file.name} (Analyze)", lacks="orientation", so=so)
    if known:
        return _by_nibabel(image, known=True)
    spacing = [float(abs(step)) or 1.0 for step in image.header.get_zooms()[:3]]
    return Form(_frames_first(np.asanyarray(image.dataobj)), geometry.index_to_physical(spacing), False, (note,))


def read_array(file: Path) -> Form:
    """NumPy's .npy, or .npz of one array: (H, W), (H, W, C) with 1 to 4 channels, or (D, H, W).

    Raises:
        InputError: Python objects, which are not loaded, several arrays, or another shape.
    """
    try:
        # mapped into memory, nothing is taken for what its header states before that is looked at
        content = np.load(file, allow_pickle=False, mmap_mode="r")
    except ValueError as error:
        if "pickle" in str(error).lower():
            raise InputError(f"image {file} holds Python objects, which are not loaded; save an array alone") from error
        raise
    if isinstance(content, np.lib.npyio.NpzFile):
        with content:
            if len(content.files) != 1:
                raise InputError(f"image {file} holds {len(content.files)} arrays; save one alone: {content.files}")
            assert content.zip is not None
            (member,) = content.zip.infolist()
            check_size(file, (member.file_size,), 1, 1, member.compress_size, DEFLATED)
            try:
                array = content[content.files[0]]
            except ValueError as error:
                raise InputError(f"image {file} holds Python objects, which are not loaded") from error
    else:
        check_size(file, content.shape or (1,), content.dtype.itemsize)
        array = np.array(content)
    flat = array.ndim == 2 or (array.ndim == 3 and array.shape[-1] in CHANNELS)
    if not flat and array.ndim != 3:
        raise InputError(f"image {file} is an array of {array.shape}; (H, W), (H, W, C) or (D, H, W) is read")
    whole = np.moveaxis(array, -1, 0) if flat and array.ndim == 3 else array[None]
    what = "pixels" if flat else "voxels"
    note = NOT_STATED.format(what=file.name, lacks="spacing", so=f"lengths count in {what}, which are taken as equal")
    return Form(_native(whole), None, False, (note,))


def _check_proxy(file: Path, image: Any, stored: int, ratio: float) -> None:
    """Refuse what the header of an image of nibabel's states and can't be, before it is read."""
    check_size(file, image.shape[::-1], image.get_data_dtype().itemsize, 1, stored, ratio)


def _check_dicom(path: Path, file: str, count: int = 1) -> None:
    """The same of DICOM, by one file of so many."""
    header = _header(file)
    size, kind = header.GetSize(), np.dtype(TYPES.get(header.GetPixelIDValue(), np.uint16))
    sides = (*([count] if count > 1 else []), *(side for side in reversed(size) if side > 1 or len(size) < 3))
    check_size(path, sides, kind.itemsize, header.GetNumberOfComponents(), count * Path(file).stat().st_size, RATIO)


def _by_nibabel(image: Any, known: bool) -> Form:
    """An image whose affine leads from (x, y, z) to RAS."""
    matrix = np.diag([-1.0, -1.0, 1.0, 1.0]) @ np.asarray(image.affine, dtype=np.float64)
    matrix[:3, :3] = matrix[:3, 2::-1]  # from slice, row, column
    return Form(_frames_first(np.asanyarray(image.dataobj)), matrix, known)


def _frames_first(array: Array) -> Array:
    """(x, y, z[, frames]) as (C, z, y, x)."""
    whole = array if array.ndim > 3 else array[..., None]
    return _native(whole.reshape(*whole.shape[:3], -1).T)


def _channels_first(image: Any) -> Array:
    array: Array = sitk.GetArrayFromImage(image)
    return array[None] if image.GetNumberOfComponentsPerPixel() == 1 else np.moveaxis(array, -1, 0)


def _native(array: Array) -> Array:
    """In the byte order of this machine, which torch asks for."""
    return np.ascontiguousarray(array.astype(array.dtype.newbyteorder("="), copy=False))


def _matrix(image: Any) -> Matrix:
    direction = np.reshape(image.GetDirection(), (image.GetDimension(),) * 2)
    return geometry.index_to_physical(image.GetSpacing(), image.GetOrigin(), direction)


@contextmanager
def _itk_silent() -> Iterator[None]:
    """Without the warnings that ITK prints, where messages of ours say the same."""
    shown = sitk.ProcessObject.GetGlobalWarningDisplay()
    sitk.ProcessObject.GlobalWarningDisplayOff()
    try:
        yield
    finally:
        sitk.ProcessObject.SetGlobalWarningDisplay(shown)


def _header(file: str) -> Any:
    reader = sitk.ImageFileReader()
    reader.SetImageIO("GDCMImageIO")
    reader.SetFileName(file)
    reader.ReadImageInformation()
    return reader


def _description(file: str) -> str:
    header = _header(file)
    text = header.GetMetaData(DESCRIPTION).strip() if header.HasMetaDataKey(DESCRIPTION) else ""
    return text or "without a name"


def _check_places(folder: Path, files: Sequence[str]) -> None:
    """ITK takes the slices of a series for evenly spaced along their normal, whatever their headers say."""
    headers = [_header(file) for file in files]
    if not all(header.HasMetaDataKey(POSITION) and header.HasMetaDataKey(ORIENTATION) for header in headers):
        raise InputError(f"image {folder}: the files of its DICOM series don't all state where they lie")
    places = np.array([[float(part) for part in header.GetMetaData(POSITION).split("\\")] for header in headers])
    axes = np.array([[float(part) for part in header.GetMetaData(ORIENTATION).split("\\")] for header in headers])
    steps = np.diff(places, axis=0)
    along = np.abs(steps @ np.cross(axes[0, :3], axes[0, 3:]))
    usual = float(np.median(along))
    way = "convert it by dcm2niix, or leave the files out that don't belong to it"
    if np.abs(axes - axes[0]).max() > 1e-3:
        raise InputError(f"image {folder}: the slices of its DICOM series are not parallel; {way}")
    if along.min() < UNEVEN * max(usual, 1e-3):
        raise InputError(f"image {folder}: several images of its DICOM series lie in one place; {way}")
    if np.abs(along - usual).max() > UNEVEN * usual:
        raise InputError(
            f"image {folder}: the slices of its DICOM series are {along.min():.2f} to {along.max():.2f} mm apart, so "
            f"some are missing; {way}"
        )
    if np.sqrt(np.maximum((steps**2).sum(axis=1) - along**2, 0)).max() > UNEVEN * usual:
        raise InputError(f"image {folder}: the slices of its DICOM series are shifted (gantry tilt); {way}")
