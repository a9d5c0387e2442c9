"""The size of a pixel as files of microscopes state it, in whatever unit, and what they state that is none."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import tifffile

from custom_components.common.errors import InputError
from custom_components.pairs.formats import PixelSize
from custom_components.pairs.reading import LARGEST, SMALLEST

TO_MICROMETRE = {
    "m": 1e6, "cm": 1e4, "mm": 1e3, "µm": 1.0, "μm": 1.0, "um": 1.0, "micron": 1.0, "microns": 1.0, "micrometer": 1.0,
    "micrometre": 1.0, "nm": 1e-3, "nanometer": 1e-3, "pm": 1e-6, "å": 1e-4, "inch": 25400.0, "in": 25400.0,
    "millimeter": 1e3, "centimeter": 1e4,
}  # fmt: skip
# dots an inch that programs write which know nothing of the pixels: screens and prints
PRINT = (72, 75, 90, 96, 100, 120, 144, 150, 180, 200, 220, 240, 250, 254, 300, 350, 360, 400, 600, 720, 1200)
COARSEST = 100.0  # micrometres; resolution tags that say more are no microscope's
Found = tuple[PixelSize | None, str]


def stated_pixel_size(tiff: tifffile.TiffFile, series: int = 0) -> Found:
    """(row, col) micrometres of a pixel of an image in an open TIFF, None where it doesn't say; and a note or "".

    Raises:
        InputError: it states a size that can't be.
    """
    if tiff.is_ome:
        size, note = ome_pixel_size(tiff.ome_metadata, series)
    elif tiff.is_svs:
        size, note = aperio_pixel_size(tiff.pages.first.description), ""
    elif tiff.is_imagej:
        size, note = imagej_pixel_size(tiff.imagej_metadata or {}, tiff.pages.first)
    else:
        size, note = tiff_pixel_size(tiff.pages.first)
    if size is not None and not all(SMALLEST <= side <= LARGEST for side in size):
        raise InputError(
            f"image {tiff.filehandle.path} states pixels of {size[1]:g} x {size[0]:g} micrometres, which can't be; "
            "give the true size as --moving_pixel_size or --fixed_pixel_size"
        )
    return size, note


def aperio_pixel_size(description: str) -> PixelSize | None:
    """Micrometres of a pixel as Aperio's description has them, ``|MPP = 0.499|``."""
    try:
        size = float(tifffile.tifffile.svs_description_metadata(description)["MPP"])
    except (KeyError, TypeError, ValueError):
        return None
    return (size, size) if size > 0 else None


def ome_images(xml: str | None) -> list[Mapping[str, Any]]:
    """The entries ``Image`` of OME-XML."""
    found = tifffile.xml2dict(xml or "<OME/>").get("OME", {})
    images = found.get("Image", []) if isinstance(found, dict) else []
    return images if isinstance(images, list) else [images]


def ome_pixel_size(xml: str | None, series: int = 0) -> Found:
    """Micrometres of a pixel as OME-XML has them, in any of its units; a single side stands for both."""
    images = ome_images(xml)
    pixels = images[series].get("Pixels", {}) if series < len(images) else {}
    sides: list[float | None] = []
    for axis in "YX":
        unit = str(pixels.get(f"PhysicalSize{axis}Unit", "µm")).lower()
        try:
            value = float(pixels[f"PhysicalSize{axis}"]) * TO_MICROMETRE[unit]
        except (KeyError, TypeError, ValueError):
            value = math.nan
        sides.append(value if math.isfinite(value) and value != 0 else None)
    rows, columns = sides
    if rows is None and columns is None:
        return None, ""
    if rows is None or columns is None:
        side = columns if rows is None else rows
        assert side is not None
        return (side, side), f"only one side of a pixel is stated, {side:g} micrometres, and taken for both"
    return (rows, columns), ""


def imagej_pixel_size(metadata: Mapping[str, Any], page: tifffile.TiffPage) -> Found:
    """Micrometres of a pixel as ImageJ writes them: pixels a unit in the resolution tags, the unit in its own text."""
    unit = str(metadata.get("unit", "")).strip()
    if "\\u" in unit:
        unit = unit.encode("ascii", "ignore").decode("unicode_escape")
    if not unit:
        return tiff_pixel_size(page)  # written by another program, which states the unit of the tags
    per_unit = _per_unit(page)
    if unit.lower() not in TO_MICROMETRE or per_unit is None:
        return None, ""
    if unit.lower() in ("inch", "in"):
        return _unless_print(per_unit, 25400.0)
    factor = TO_MICROMETRE[unit.lower()]
    return (factor / per_unit[0], factor / per_unit[1]), ""


def tiff_pixel_size(page: tifffile.TiffPage) -> Found:
    """Pixel size of TIFF's resolution tags, unless they are of a print or can't be a microscope's."""
    unit, per_unit = page.tags.valueof("ResolutionUnit"), _per_unit(page)
    if unit not in (2, 3) or per_unit is None:
        return None, ""
    return _unless_print(per_unit, 1e4 if unit == 3 else 25400.0)


def _unless_print(per_unit: tuple[float, float], unit: float) -> Found:
    dpi = [value * 25400.0 / unit for value in per_unit]
    if any(abs(dpi[1] - value) < 0.01 * value for value in PRINT):
        return None, f"its resolution, {dpi[1]:.0f} dots an inch, is that of a print or screen and is not used"
    sizes = (unit / per_unit[0], unit / per_unit[1])
    if max(sizes) >= COARSEST or min(sizes) < SMALLEST:
        return None, f"its resolution, {dpi[1]:.4g} dots an inch, is not that of a microscope and is not used"
    return sizes, ""


def _per_unit(page: tifffile.TiffPage) -> tuple[float, float] | None:
    """Pixels a unit (down, across), None where the tags lack or are zero."""
    found = []
    for tag in ("YResolution", "XResolution"):
        numerator, denominator = page.tags.valueof(tag, (0, 1))
        if not numerator or not denominator:
            return None
        found.append(numerator / denominator)
    return found[0], found[1]
