"""What is common to all image formats: suffixes, pixel sizes, what their libraries raise."""

from __future__ import annotations

import lzma
import re
import struct
import zipfile
import zlib
from pathlib import Path

from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError
from openslide import OpenSlideError
from PIL.Image import DecompressionBombError

PixelSize = tuple[float, float]
TIFF = (".tif", ".tiff", ".btf")
MEDICAL = (".nii", ".nii.gz", ".mha", ".nrrd", ".mhd", ".nhdr")
ARRAYS = (".npy", ".npz")
PICTURES = (".png", ".jpg", ".jpeg")
# what libraries raise on files that they don't understand, that lie or that end too early; what users see of it is one
# sentence, see ``pairs.unreadable``, and the exception stays its cause
UNREADABLE = (
    OSError, ValueError, RuntimeError, SyntaxError, LookupError, TypeError, AttributeError, AssertionError,
    ArithmeticError, MemoryError, EOFError, BufferError, struct.error, zlib.error, lzma.LZMAError, zipfile.BadZipFile,
    ImageFileError, HeaderDataError, OpenSlideError, DecompressionBombError,
)  # fmt: skip


def full_suffix(path: str | Path) -> str:
    """Lower-case suffix, ".nii.gz" as one."""
    name = Path(path).name.lower()
    return ".nii.gz" if name.endswith(".nii.gz") else Path(name).suffix


def is_image(path: Path) -> bool:
    """Whether there is an image: a file, or the folder of an OME-Zarr."""
    return path.is_file() or (path.is_dir() and path.name.lower().endswith(".zarr"))


def full_stem(path: str | Path) -> str:
    """The name of a file without its suffix, of which those of two parts are one; other dots belong to it.

    "IHC" of ``IHC.ome.tif``, ``IHC.nii.gz``, ``IHC.ome.zarr`` and ``IHC.geojson.gz``; "IHC.2" of ``IHC.2.svs``.
    """
    name = Path(path).name
    return re.sub(r"(\.[a-z]\w*\.gz|(\.ome)?\.[^.]+)$", "", name, flags=re.IGNORECASE) or name


def first_line(error: BaseException) -> str:
    """The last line of a message that says something."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip(" .")]
    lines = [line for line in lines if not line.startswith("Reason:")]  # ITK's is of the system, often stale
    return lines[-1] if lines else type(error).__name__
