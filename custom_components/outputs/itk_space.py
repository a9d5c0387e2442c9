"""Where ITK's own readers put the pixels of a file, so that transform.h5 fits the very files of the pair.

ITK reads the spacing of TIFF, PNG and JPEG from their resolution, in millimetres, whatever the fields on disk count in.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk

from custom_components.common.arrays import Matrix
from custom_components.fields import Grid, apply_matrix, image_matrix, index_to_physical
from custom_components.fields.itk_bridge import continued, image_vectors, vector_image


def itk_matrix(path: str | Path, grid: Grid, pixel_size: tuple[float, float] | None) -> Matrix:
    """(D+1, D+1) index -> physical, as ITK, SimpleITK and 3D Slicer have it of a file they read.

    Args:
        path: the file.
        grid: of the file at full resolution.
        pixel_size: (row, col) micrometres, for a form that ITK can't read: it then counts in millimetres, and in
            pixels where the size is unknown.
    """
    dimensions = len(grid.shape)
    steps = (1.0,) * dimensions if pixel_size is None else tuple(step / 1000 for step in pixel_size)
    if grid.unit == "millimetre":  # read by ITK already; a section of one slice lies in its plane
        return grid.matrix
    fallback = index_to_physical(steps[::-1])
    if Path(path).is_dir():
        return fallback
    header = sitk.ImageFileReader()
    try:
        header.SetFileName(str(path))
        header.ReadImageInformation()
    except RuntimeError:
        return fallback
    size = int(header.GetDimension())
    if size < dimensions:
        return fallback
    # of pages that ITK takes for slices, those in the plane
    spacing = [float(step) or 1.0 for step in header.GetSpacing()[:dimensions]]
    direction = np.reshape(header.GetDirection(), (size, size))[:dimensions, :dimensions]
    return index_to_physical(spacing, header.GetOrigin()[:dimensions], direction)


def in_itk_space(displacement: Any, fixed: tuple[Grid, Matrix], moving: tuple[Grid, Matrix]) -> Any:
    """A displacement image between the physical spaces that ITK's readers give the two files.

    It covers all of the fixed file, beyond the border with its border value: ITK moves nothing outside of a field.

    Args:
        displacement: fixed -> moving, physical units of the grids.
        fixed: grid of the file, and ``itk_matrix`` of it.
        moving: the same of the moving file.
    """
    to_fixed, to_moving = (matrix @ np.linalg.inv(grid.matrix) for grid, matrix in (fixed, moving))
    whole = continued(displacement, fixed[0].shape, fixed[0].matrix)
    own, vectors = image_matrix(whole), image_vectors(whole).astype(np.float64)
    dimensions = vectors.ndim - 1
    index = np.stack([axis.ravel() for axis in np.indices(vectors.shape[:-1])], axis=1).astype(np.float64)
    start = apply_matrix(own, index)
    moved = apply_matrix(to_moving, start + vectors.reshape(-1, dimensions)) - apply_matrix(to_fixed, start)
    return vector_image(moved.reshape(vectors.shape), to_fixed @ own)
