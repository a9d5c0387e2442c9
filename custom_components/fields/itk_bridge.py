"""Fields on disk: ITK vector images in physical LPS units, transforms, and resampling.

A displacement image holds, for every voxel of the fixed grid, the vector from its physical position to the physical
position in the moving image, components x, y[, z]. ITK's transform made of it maps fixed points to moving points.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import itk
import numpy as np
import numpy.typing as npt
import torch
from scipy.ndimage import map_coordinates
from torch import Tensor

from custom_components.errors import InputError
from custom_components.fields.geometry import apply_matrix, geometry_of, index_to_physical

Matrix = npt.NDArray[np.float64]
Array = npt.NDArray[Any]


def _set_geometry(image: Any, matrix: Matrix) -> None:
    spacing, origin, direction = geometry_of(matrix)
    image.SetSpacing([float(v) for v in spacing])
    image.SetOrigin([float(v) for v in origin])
    image.SetDirection(itk.matrix_from_array(np.ascontiguousarray(direction)))


def matrix_of(image: Any) -> Matrix:
    """``index_to_physical`` of an ITK image."""
    direction = np.asarray(itk.array_from_matrix(image.GetDirection()))
    return index_to_physical(tuple(image.GetSpacing()), tuple(image.GetOrigin()), direction)


def displacement_image(ddf: Tensor, fixed_matrix: Matrix, moving_matrix: Matrix) -> Any:
    """``itk.Image[Vector[float, D], D]`` of a field, physical units, on the fixed grid.

    Args:
        ddf: (1, D, *spatial), voxels, fixed working grid -> moving working grid.
        fixed_matrix: (D+1, D+1) index_to_physical of the fixed working grid.
        moving_matrix: the same of the moving working grid.
    """
    field = ddf[0].double().cpu().numpy()
    dimensions = len(field)
    index = np.stack(np.meshgrid(*[np.arange(n) for n in field.shape[1:]], indexing="ij")).reshape(dimensions, -1).T
    target = apply_matrix(moving_matrix, index + field.reshape(dimensions, -1).T)
    vectors = (target - apply_matrix(fixed_matrix, index)).reshape(*field.shape[1:], dimensions)
    pixel = itk.Vector[itk.F, dimensions]
    image = itk.image_from_array(np.ascontiguousarray(vectors, dtype=np.float32), ttype=itk.Image[pixel, dimensions])
    _set_geometry(image, fixed_matrix)
    return image


def image_to_ddf(image: Any, fixed_matrix: Matrix, moving_matrix: Matrix, spatial: Sequence[int]) -> Tensor:
    """(1, D, *spatial) field in voxels of any working grids; inverse of ``displacement_image`` and a resampling in one."""
    dimensions = len(spatial)
    index = np.stack(np.meshgrid(*[np.arange(n) for n in spatial], indexing="ij")).reshape(dimensions, -1).T
    moved = transform_points(image, apply_matrix(fixed_matrix, index))
    voxels = apply_matrix(np.linalg.inv(moving_matrix), moved) - index
    return torch.from_numpy(voxels.T.reshape(1, dimensions, *spatial)).float()


def write_displacement(path: str | Path, image: Any) -> None:
    """Write a displacement image (.mha, .nrrd, .nii.gz)."""
    itk.imwrite(image, str(path), compression=True)


def read_displacement(path: str | Path) -> Any:
    """Read a displacement image.

    Raises:
        InputError: no such file, not readable, or no vector image.
    """
    file = Path(path)
    if not file.is_file():
        raise InputError(f"displacement field {file} does not exist")
    try:
        image = itk.imread(str(file))
    except RuntimeError as error:
        raise InputError(f"displacement field {file} can't be read: {str(error).splitlines()[-1]}") from error
    components, dimensions = image.GetNumberOfComponentsPerPixel(), image.GetImageDimension()
    if components != dimensions:
        raise InputError(f"{file} is no displacement field: {components} components in {dimensions}-D")
    return image


def displacement_transform(image: Any) -> Any:
    """ITK's ``DisplacementFieldTransform`` (double) of a displacement image: maps fixed points to moving points."""
    dimensions = int(image.GetImageDimension())
    field = itk.image_from_array(np.asarray(itk.array_from_image(image)).astype(np.float64), is_vector=True)
    _set_geometry(field, matrix_of(image))
    transform = itk.DisplacementFieldTransform[itk.D, dimensions].New()
    transform.SetDisplacementField(field)
    return transform


def write_transform(path: str | Path, image: Any) -> None:
    """Write a displacement image as an ITK transform file (.h5 or .tfm)."""
    itk.transformwrite([displacement_transform(image)], str(path))


def read_transform(path: str | Path) -> Any:
    """Read an ITK transform file; its first transform."""
    if not Path(path).is_file():
        raise InputError(f"transform {path} does not exist")
    return itk.transformread(str(path))[0]


def transform_points(image: Any, points: Matrix) -> Matrix:
    """Carry physical points from the fixed to the moving side of a displacement image, linear, clamped at its border.

    Args:
        image: displacement image.
        points: (N, D) physical, x, y[, z].

    Returns:
        (N, D) physical, x, y[, z].
    """
    if len(points) == 0:
        return np.asarray(points, dtype=np.float64).copy()
    index = apply_matrix(np.linalg.inv(matrix_of(image)), np.asarray(points, dtype=np.float64))
    vectors = np.asarray(itk.array_from_image(image))
    moved = [
        map_coordinates(vectors[..., k].astype(np.float64), index.T, order=1, mode="nearest")
        for k in range(vectors.shape[-1])
    ]
    return points + np.stack(moved, axis=1)


def _with_ring(image: Any, width: int) -> Any:
    """The displacement image with ``width`` voxels more on every side, border values repeated.

    ITK takes the displacement outside the field's buffer for zero, also in the half voxel around it.
    """
    vectors = np.asarray(itk.array_from_image(image))
    dimensions = vectors.ndim - 1
    padded = np.pad(vectors, [(width, width)] * dimensions + [(0, 0)], mode="edge")
    matrix = matrix_of(image)
    shift = np.eye(dimensions + 1)
    shift[:-1, -1] = -width
    ringed = itk.image_from_array(padded, ttype=itk.Image[itk.Vector[itk.F, dimensions], dimensions])
    _set_geometry(ringed, matrix @ shift)
    return ringed


def resample(
    moving: Array,
    moving_matrix: Matrix,
    displacement: Any,
    fixed_spatial: Sequence[int],
    fixed_matrix: Matrix,
    order: int = 1,
    default_value: Sequence[float] | float = 0.0,
) -> Array:
    """Warp an image with ITK's ``ResampleImageFilter``; channels one by one.

    Args:
        moving: (C, *spatial), any dtype.
        moving_matrix: its index_to_physical.
        displacement: fixed -> moving, of any resolution.
        fixed_spatial: size of the result.
        fixed_matrix: its index_to_physical.
        order: 0 nearest neighbour (labels), 1 linear, 3 cubic B-spline.
        default_value: where the moving image does not reach; one or one per channel.

    Returns:
        (C, *fixed_spatial) in the dtype of ``moving``, integers rounded and clipped.

    Raises:
        InputError: another order.
    """
    interpolators = {0: "NearestNeighborInterpolateImageFunction", 1: "LinearInterpolateImageFunction", 3: "BSplineInterpolateImageFunction"}
    if order not in interpolators:
        raise InputError(f"interpolation order is 0, 1 or 3, got {order}")
    dimensions = len(fixed_spatial)
    transform = displacement_transform(_with_ring(displacement, 2))
    spacing, origin, direction = geometry_of(fixed_matrix)
    fill = np.broadcast_to(np.asarray(default_value, dtype=np.float64), (len(moving),))
    result = np.empty((len(moving), *fixed_spatial), dtype=moving.dtype)
    for channel, values in enumerate(moving):
        image = itk.image_from_array(np.ascontiguousarray(values, dtype=np.float32))
        _set_geometry(image, moving_matrix)
        interpolator = getattr(itk, interpolators[order])
        kind = interpolator[type(image), itk.D, itk.D] if order == 3 else interpolator[type(image), itk.D]
        warped = itk.resample_image_filter(
            image, transform=transform, interpolator=kind.New(), default_pixel_value=float(fill[channel]),
            size=[int(n) for n in reversed(fixed_spatial)], output_spacing=[float(v) for v in spacing],
            output_origin=[float(v) for v in origin],
            output_direction=itk.matrix_from_array(np.ascontiguousarray(direction)),
        )  # fmt: skip
        array = np.asarray(itk.array_from_image(warped))
        if np.issubdtype(moving.dtype, np.integer):
            limits = np.iinfo(moving.dtype)
            array = array.round().clip(limits.min, limits.max)
        result[channel] = array.astype(moving.dtype)
    assert dimensions == moving.ndim - 1
    return result
