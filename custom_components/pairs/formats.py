"""What is common to all image formats: suffixes, pixel sizes, what their libraries raise."""

from __future__ import annotations

import re
import struct
from pathlib import Path

PixelSize = tuple[float, float]
TIFF = (".tif", ".tiff", ".btf")
MEDICAL = (".nii", ".nii.gz", ".mha", ".nrrd", ".mhd")
ARRAYS = (".npy", ".npz")
PICTURES = (".png", ".jpg", ".jpeg")
# what Pillow, tifffile, nibabel and ITK raise on files that they don't understand or that end too early
UNREADABLE = (OSError, ValueError, RuntimeError, SyntaxError, LookupError, TypeError, EOFError, struct.error)


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
