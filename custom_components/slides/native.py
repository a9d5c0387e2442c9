"""What a warped image takes over from its moving image: form of the file, background, dtype."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from custom_components.fields import Grid
from custom_components.pairs import ArraySlide, Slide, is_large, open_slide, read_image
from custom_components.pairs.formats import ARRAYS, MEDICAL, PICTURES, TIFF, full_suffix
from custom_components.pairs.layout import Layout
from custom_components.pairs.reading import AS_STORED, Reading
from custom_components.pairs.slides import is_slide
from custom_components.pairs.tiff_form import is_ome_name
from custom_components.pairs.volume_forms import reader_of
from custom_components.pairs.zarr_form import is_zarr_name

if TYPE_CHECKING:
    from monai.data.meta_tensor import MetaTensor


def output_suffix(moving: Path, wanted: str | None, dimensions: int = 2) -> str:
    """Suffix of the warped image: the one asked for, else the moving image's own, JPEG becoming lossless PNG.

    Volumes of forms that are read and not written (DICOM, MGZ, Analyze, arrays) become NIfTI, 2-D arrays TIFF.
    """
    if wanted:
        return wanted if wanted.startswith(".") else f".{wanted}"
    suffix = full_suffix(moving)
    if is_zarr_name(moving):
        return ".ome.zarr"
    if is_ome_name(moving) or is_slide(moving):
        return ".ome.tif"
    if suffix in (".mhd", ".nhdr"):  # whose results would need to be trusted like them
        return ".mha" if suffix == ".mhd" else ".nrrd"
    if suffix in MEDICAL:
        return suffix
    if dimensions > 2 or (suffix not in ARRAYS and reader_of(moving) is not None):
        return ".nii.gz"
    return suffix if suffix in TIFF else ".tif" if suffix in ARRAYS else ".png"


def native_layout(image: Any) -> Layout | None:
    """How the file of an image was stored, for its warped one; None where that is not known.

    A JPEG or PNG file says nothing of how a TIFF is to be compressed.
    """
    meta = getattr(image, "meta", {})
    found: Layout | None = meta.get("layout")
    if found is not None and full_suffix(str(meta.get("filename", ""))) in PICTURES:
        return replace(found, compression="")
    return found


def rim_median(image: npt.NDArray[Any]) -> list[float]:
    """The median of the rim of (C, *spatial), one value a channel."""
    faces = [image.take(place, axis).reshape(len(image), -1) for axis in range(1, image.ndim) for place in (0, -1)]
    return [float(v) for v in np.median(np.concatenate(faces, axis=1), axis=1)]


def native_array(image: MetaTensor) -> npt.NDArray[Any]:
    """(C, *spatial) in the dtype that the file had."""
    return np.asarray(image.numpy()).astype(image.meta["dtype"])


def open_image(path: str | Path, image: MetaTensor | None = None, reading: Reading = AS_STORED) -> Slide:
    """Any image of two dimensions by its regions: read from the file, or from memory where that holds all of it.

    Args:
        path: the file.
        image: as it was read before; None reads it, unless it is large.
        reading: what the user says of the file.

    Raises:
        InputError: missing or unreadable file.
    """
    if image is None and not is_large(path, reading):
        image = read_image(path, reading=reading)
    if image is not None and Grid.of(image).same_space(image.meta["file_grid"]):
        return ArraySlide(Path(path), np.moveaxis(native_array(image), 0, -1), layout=image.meta["layout"])
    return open_slide(path, reading)
