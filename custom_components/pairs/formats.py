"""What is common to all image formats: suffixes, pixel sizes, what their libraries raise."""

from __future__ import annotations

import struct
from pathlib import Path

import tifffile

PixelSize = tuple[float, float]
TIFF = (".tif", ".tiff", ".btf")
MEDICAL = (".nii", ".nii.gz", ".mha", ".nrrd", ".mhd")
ARRAYS = (".npy", ".npz")
PICTURES = (".png", ".jpg", ".jpeg")
# what Pillow, tifffile, nibabel and ITK raise on files that they don't understand or that end too early
UNREADABLE = (OSError, ValueError, RuntimeError, SyntaxError, LookupError, TypeError, EOFError, struct.error)
TO_MICROMETRE = {"m": 1e6, "cm": 1e4, "mm": 1e3, "µm": 1.0, "um": 1.0, "nm": 1e-3, "pm": 1e-6}


def full_suffix(path: str | Path) -> str:
    """Lower-case suffix, ".nii.gz" as one."""
    name = Path(path).name.lower()
    return ".nii.gz" if name.endswith(".nii.gz") else Path(name).suffix


def first_line(error: BaseException) -> str:
    """The last line of a message that says something."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip(" .")]
    lines = [line for line in lines if not line.startswith("Reason:")]  # ITK's is of the system, often stale
    return lines[-1] if lines else type(error).__name__


def stated_pixel_size(tiff: tifffile.TiffFile) -> PixelSize | None:
    """(row, col) micrometres of the largest image in an open TIFF; None where it doesn't say."""
    if tiff.is_ome:
        return ome_pixel_size(tiff.ome_metadata)
    if tiff.is_svs:
        return aperio_pixel_size(tiff.pages.first.description)
    return tiff_pixel_size(tiff.pages.first)


def aperio_pixel_size(description: str) -> PixelSize | None:
    """Micrometres of a pixel as Aperio's description has them, ``|MPP = 0.499|``."""
    try:
        size = float(tifffile.tifffile.svs_description_metadata(description)["MPP"])
    except (KeyError, TypeError, ValueError):
        return None
    return (size, size) if size > 0 else None


def ome_pixel_size(xml: str | None) -> PixelSize | None:
    """Micrometres of a pixel as OME-XML has them; None where it doesn't say."""
    pixels = tifffile.xml2dict(xml or "<OME/>").get("OME", {}).get("Image", {})
    pixels = (pixels[0] if isinstance(pixels, list) else pixels).get("Pixels", {}) if pixels else {}
    try:
        sizes = [
            float(pixels[f"PhysicalSize{a}"]) * TO_MICROMETRE[pixels.get(f"PhysicalSize{a}Unit", "µm")] for a in "YX"
        ]
    except (KeyError, ValueError):
        return None
    return (sizes[0], sizes[1]) if min(sizes) > 0 else None


def tiff_pixel_size(page: tifffile.TiffPage) -> PixelSize | None:
    """Pixel size of TIFF's resolution tags, when they are in centimetres and fit a microscope."""
    if page.tags.valueof("ResolutionUnit") != 3:
        return None
    sizes = []
    for tag in ("YResolution", "XResolution"):
        numerator, denominator = page.tags.valueof(tag, (0, 1))
        if not numerator:
            return None
        sizes.append(1e4 * denominator / numerator)
    return (sizes[0], sizes[1]) if fits(*sizes) else None


def fits(*sizes: float) -> bool:
    """Whether micrometres of a pixel can be those of a microscope, or are what a program writes that knows of none."""
    return max(sizes) < 100
