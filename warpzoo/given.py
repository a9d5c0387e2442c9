"""Images as Python has them, put into files: every method reads files, of which a result says what it was made."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from custom_components.common.errors import InputError

Spacing = float | Sequence[float] | None


def as_file(image: Any, spacing: Spacing, folder: Path, name: str) -> Path:
    """The path of ``image``, which is written into ``folder`` unless it is one.

    Args:
        image: a path; an array (H, W), (H, W, C) or, with three spacings, a volume (D, H, W); a ``MetaTensor``
            (C, *spatial); or an image of ITK or SimpleITK.
        spacing: of an array: micrometres a pixel (one, or row and column), of a volume millimetres; None counts in
            pixels.
        folder: for what is written.
        name: of the file.

    Raises:
        InputError: it is none of these, or its values can't be registered.
    """
    if isinstance(image, str | Path):
        if not Path(image).exists():
            raise InputError(f"image {image} does not exist")
        return Path(image)
    kind = type(image).__module__.split(".")[0].lower()
    if kind == "simpleitk":
        import SimpleITK

        return _written_by(SimpleITK.WriteImage, image, int(image.GetDimension()), folder, name)
    if kind.startswith("itk"):
        import itk

        return _written_by(itk.imwrite, image, int(image.GetImageDimension()), folder, name)
    from custom_components.fields import Grid
    from custom_components.pairs import write_image

    if hasattr(image, "affine") and hasattr(image, "meta"):
        grid = Grid.of(image)
        path = folder / f"{name}{'.mha' if len(grid.shape) == 2 else '.nii.gz'}"
        write_image(path, _storable(np.asarray(image.cpu())), grid.matrix)
        return path
    array = _storable(np.asarray(image.cpu() if hasattr(image, "cpu") else image))
    steps = [] if spacing is None else [float(step) for step in np.atleast_1d(spacing)]
    if len(steps) == 3 and array.ndim == 3:
        from custom_components.fields import index_to_physical

        path = folder / f"{name}.nii.gz"
        write_image(path, array[None], index_to_physical(steps[::-1]))
        return path
    if array.ndim == 2:
        array = array[None]
    elif array.ndim == 3 and array.shape[-1] in (1, 2, 3, 4):
        array = np.moveaxis(array, -1, 0)
    else:
        raise InputError(
            "an array is (rows, columns), (rows, columns, channels) or, with three spacings, a volume (slices, rows, "
            f"columns); got {array.shape}"
        )
    size = (steps[0], steps[-1]) if steps else None
    path = folder / f"{name}.tif"
    write_image(path, np.ascontiguousarray(array), pixel_size=size)
    return path


def _storable(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """With a dtype that image files have."""
    if array.dtype == bool:
        return array.astype(np.uint8) * np.uint8(255)
    if array.dtype.kind == "f":
        if not np.isfinite(array).all():
            raise InputError("the array holds values that are not finite; replace them first")
        return array.astype(np.float32)
    if array.dtype in (np.uint8, np.uint16, np.int16):
        return array
    if array.dtype.kind in "iu":
        return array.astype(np.float32)
    raise InputError(f"an image holds numbers, got an array of {array.dtype}")


def _written_by(write: Any, image: Any, dimensions: int, folder: Path, name: str) -> Path:
    path = folder / f"{name}{'.mha' if dimensions == 2 else '.nii.gz'}"
    write(image, str(path))
    return path
