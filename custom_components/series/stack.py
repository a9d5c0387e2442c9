"""All sections of a series in one OME-TIFF, one grey channel each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from custom_components.common.errors import InputError
from custom_components.pairs import atomic_path, read_image
from custom_components.pairs.layout import Layout
from custom_components.pairs.tiff_file import write_levels
from custom_components.pairs.tiff_form import TiffForm, check_holds, segments
from custom_components.slides.native import native_array
from custom_components.transforms.grey import to_luminance


def grey_plane(image: npt.NDArray[Any], dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    """(C, H, W) -> (H, W) of ``dtype``: luminance of RGB, the mean of any other number of channels, values kept."""
    plane = image[0] if len(image) == 1 else to_luminance(image)
    if np.issubdtype(dtype, np.integer) and np.issubdtype(plane.dtype, np.floating):
        limits = np.iinfo(dtype)
        plane = plane.round().clip(limits.min, limits.max)
    return np.asarray(plane.astype(dtype))


def write_stack(
    path: str | Path,
    files: Sequence[Path],
    names: Sequence[str],
    dtypes: Sequence[str],
    shape: tuple[int, int],
    pixel_size: Sequence[float] | None = None,
) -> None:
    """Write the stack, whole or not at all; one section is in memory at a time.

    Args:
        path: .ome.tif.
        files: warped images on the reference's grid.
        names: of the channels.
        dtypes: of the files; the stack has the smallest type that holds all of them.
        shape: (H, W) of the reference.
        pixel_size: (row, col) micrometres, or None.

    Raises:
        InputError: a file can't be read or has another size, or the folder can't be written.
    """
    dtype = np.result_type(*dtypes)

    def planes() -> Iterator[npt.NDArray[Any]]:
        for file in files:
            image = native_array(read_image(file))
            if image.shape[1:] != shape:
                raise InputError(f"{file} is {image.shape[1:]}, not {shape} as the reference; align the series again")
            yield grey_plane(image, dtype)

    size = None if pixel_size is None else (float(pixel_size[0]), float(pixel_size[1]))
    layout = Layout("channels" if len(files) > 1 else "grey", tuple(names))
    form = TiffForm(layout, len(files), dtype, "deflate", tile=None, pixel_size=size, ome=True)
    check_holds(Path(path), form)
    with atomic_path(path) as partial:
        write_levels(partial, form, [shape], [segments(planes(), form)])
