"""Fields on disk: ITK vector images in physical LPS units, transforms, and resampling, by SimpleITK.

ITK's own Python package takes nine seconds to load what SimpleITK has at once; tests hold both equal.

A displacement image holds, for every voxel of the fixed grid, the vector from its physical position to the
physical position in the moving image, components x, y[, z]. ITK's transform made of it maps fixed points to
moving points.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
import torch
from scipy.ndimage import map_coordinates
from torch import Tensor

from custom_components.common.arrays import Array, Matrix
from custom_components.common.errors import InputError
from custom_components.fields.compose import check_ddf
from custom_components.fields.geometry import apply_matrix, index_to_physical, spacing_origin_direction


def _indices(spatial: Sequence[int]) -> Matrix:
    """(N, D) array indices of all voxels, in memory order."""
    return np.asarray(np.stack([axis.ravel() for axis in np.indices(spatial)], axis=1), dtype=np.float64)


def set_geometry(image: Any, matrix: Matrix) -> None:
    """Give an image the spacing, origin and direction of an ``index_to_physical`` matrix."""
    spacing, origin, direction = spacing_origin_direction(matrix)
    image.SetSpacing([float(v) for v in spacing])
    image.SetOrigin([float(v) for v in origin])
    image.SetDirection([float(v) for v in np.ravel(direction)])


def image_matrix(image: Any) -> Matrix:
    """``index_to_physical`` of an image."""
    direction = np.reshape(image.GetDirection(), (image.GetDimension(),) * 2)
    return index_to_physical(image.GetSpacing(), image.GetOrigin(), direction)


def image_vectors(image: Any) -> Array:
    """(*spatial, D) vectors of a displacement image, components x, y[, z]."""
    return np.asarray(sitk.GetArrayFromImage(image))  # a copy: a view would not keep the image alive


def vector_image(vectors: Array, matrix: Matrix) -> Any:
    """Displacement image of (*spatial, D) vectors, components x, y[, z], on the grid of an ``index_to_physical``."""
    image = sitk.GetImageFromArray(np.ascontiguousarray(vectors, dtype=np.float32), isVector=True)
    set_geometry(image, matrix)
    return image


def displacement_image(ddf: Tensor, fixed_matrix: Matrix, moving_matrix: Matrix) -> Any:
    """SimpleITK's image of float vectors of a field, physical units, on the fixed grid.

    Args:
        ddf: (1, D, *spatial), voxels, fixed working grid -> moving working grid.
        fixed_matrix: (D+1, D+1) index_to_physical of the fixed working grid.
        moving_matrix: the same of the moving working grid.

    Raises:
        InputError: ``ddf`` is not one field.
    """
    dimensions = check_ddf(ddf)
    if len(ddf) != 1:
        raise InputError(f"a displacement image holds one field, got a batch of {len(ddf)}")
    field = ddf[0].detach().cpu().double().numpy()
    index = _indices(field.shape[1:])
    target = apply_matrix(moving_matrix, index + field.reshape(dimensions, -1).T)
    vectors = (target - apply_matrix(fixed_matrix, index)).reshape(*field.shape[1:], dimensions)
    return vector_image(vectors, fixed_matrix)


def image_to_ddf(image: Any, fixed_matrix: Matrix, moving_matrix: Matrix, spatial: Sequence[int]) -> Tensor:
    """Field in voxels of any two working grids; inverse of ``displacement_image`` and a resampling in one.

    Args:
        image: displacement image, of any resolution; beyond its border its border value holds.
        fixed_matrix: (D+1, D+1) index_to_physical of the wanted fixed grid.
        moving_matrix: the same of the moving grid.
        spatial: (D,) size of the fixed grid.

    Returns:
        (1, D, *spatial) float32, voxels, fixed -> moving.
    """
    dimensions = len(spatial)
    index = _indices(spatial)
    moved = transform_points(image, apply_matrix(fixed_matrix, index))
    voxels = apply_matrix(np.linalg.inv(moving_matrix), moved) - index
    return torch.from_numpy(voxels.T.reshape(1, dimensions, *spatial)).float()


def write_displacement(path: str | Path, image: Any) -> None:
    """Write a displacement image (.mha, .nrrd, .nii.gz).

    Raises:
        InputError: another suffix, or the folder can't be written.
    """
    try:
        sitk.WriteImage(image, str(path), useCompression=True)
    except RuntimeError as error:
        raise InputError(
            f"displacement field {path} can't be written: give .mha, .nrrd or .nii.gz in a folder that exists"
        ) from error


def read_displacement(path: str | Path) -> Any:
    """Read a displacement image; double vectors become float ones.

    Raises:
        InputError: no such file, not readable, or no vector image.
    """
    file = Path(path)
    if not file.is_file():
        raise InputError(f"displacement field {file} does not exist")
    try:
        image = sitk.ReadImage(str(file))
    except RuntimeError as error:
        raise InputError(f"displacement field {file} is not readable as .mha, .nrrd or .nii.gz") from error
    components, dimensions = image.GetNumberOfComponentsPerPixel(), image.GetDimension()
    if components != dimensions:
        raise InputError(f"{file} is not a displacement field: {components} components in {dimensions}-D")
    return sitk.Cast(image, sitk.sitkVectorFloat32)


def displacement_transform(image: Any) -> Any:
    """``DisplacementFieldTransform`` (double) of a displacement image.

    Its ``TransformPoint`` maps fixed points to moving points; outside the field's buffer nothing moves.
    """
    return sitk.DisplacementFieldTransform(sitk.Cast(image, sitk.sitkVectorFloat64))


def write_transform(path: str | Path, image: Any) -> None:
    """Write a displacement image as an ITK transform file (.h5 or .tfm).

    Raises:
        InputError: another suffix, or the folder can't be written.
    """
    try:
        sitk.WriteTransform(displacement_transform(image), str(path))
    except RuntimeError as error:
        raise InputError(f"transform {path} can't be written: give .h5 or .tfm in a folder that exists") from error


def read_transform(path: str | Path) -> Any:
    """Read an ITK transform file.

    Raises:
        InputError: no such file, or not readable.
    """
    if not Path(path).is_file():
        raise InputError(f"transform {path} does not exist")
    try:
        return sitk.ReadTransform(str(path)).Downcast()
    except RuntimeError as error:
        raise InputError(f"transform {path} is not readable as .h5 or .tfm") from error


def transform_points(image: Any, points: Matrix) -> Matrix:
    """Carry physical points from the fixed to the moving side of a displacement image.

    Linear between voxels; beyond its border the field keeps its border value.

    Args:
        image: displacement image.
        points: (N, D) physical, x, y[, z].

    Returns:
        (N, D) physical, x, y[, z].
    """
    if len(points) == 0:
        return np.asarray(points, dtype=np.float64).copy()
    index = apply_matrix(np.linalg.inv(image_matrix(image)), np.asarray(points, dtype=np.float64))
    vectors = image_vectors(image)
    moved = [
        map_coordinates(vectors[..., k].astype(np.float64), index.T, order=1, mode="nearest")
        for k in range(vectors.shape[-1])
    ]
    return np.asarray(points + np.stack(moved, axis=1))


def continued(image: Any, spatial: Sequence[int], matrix: Matrix) -> Any:
    """The displacement image, border values repeated until it covers a grid, as ``transform_points`` does.

    ITK takes the displacement outside the field's buffer for zero. Each side grows by the field's own size at
    most, so that a grid far away costs no memory.
    """
    vectors = image_vectors(image)
    own = image_matrix(image)
    dimensions = vectors.ndim - 1
    size = np.array(vectors.shape[:-1])
    corners = _indices((2,) * dimensions) * (np.array(spatial) - 1)
    reach = apply_matrix(np.linalg.inv(own) @ matrix, corners)
    before = np.clip(np.ceil(-reach.min(axis=0)) + 1, 1, size + 1).astype(int)
    after = np.clip(np.ceil(reach.max(axis=0) - (size - 1)) + 1, 1, size + 1).astype(int)
    padded = np.pad(vectors, [*zip(before, after, strict=True), (0, 0)], mode="edge")
    shift = np.eye(dimensions + 1)
    shift[:-1, -1] = -before
    return vector_image(padded, own @ shift)


def resample(
    moving: Array,
    moving_matrix: Matrix,
    displacement: Any,
    fixed_spatial: Sequence[int],
    fixed_matrix: Matrix,
    order: int = 1,
    default_value: Sequence[float] | float = 0.0,
) -> Array:
    """Warp an image with ITK's ``ResampleImageFilter``, channels one by one.

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
        InputError: another order, or ``moving`` has other dimensions than the fixed grid.
    """
    interpolators = {0: sitk.sitkNearestNeighbor, 1: sitk.sitkLinear, 3: sitk.sitkBSpline}
    if order not in interpolators:
        raise InputError(f"interpolation order is 0, 1 or 3, got {order}")
    if moving.ndim != len(fixed_spatial) + 1:
        raise InputError(f"a {len(fixed_spatial)}-D grid needs an image (C, *spatial), got {moving.shape}")
    transform = displacement_transform(continued(displacement, fixed_spatial, fixed_matrix))
    spacing, origin, direction = spacing_origin_direction(fixed_matrix)
    fill = np.broadcast_to(np.asarray(default_value, dtype=np.float64), (len(moving),))
    result = np.empty((len(moving), *fixed_spatial), dtype=moving.dtype)
    # float32 holds integers up to 2^24 only
    precision = np.float32 if np.can_cast(moving.dtype, np.float32) else np.float64
    for channel, values in enumerate(moving):
        image = sitk.GetImageFromArray(np.ascontiguousarray(values, dtype=precision))
        set_geometry(image, moving_matrix)
        warped = sitk.Resample(
            image, [int(n) for n in reversed(fixed_spatial)], transform, interpolators[order],
            [float(v) for v in origin], [float(v) for v in spacing], [float(v) for v in np.ravel(direction)],
            float(fill[channel]),
        )  # fmt: skip
        array = sitk.GetArrayFromImage(warped)
        if np.issubdtype(moving.dtype, np.integer):
            limits = np.iinfo(moving.dtype)
            array = array.round().clip(limits.min, limits.max)
        elif moving.dtype == bool:
            array = array >= 0.5
        result[channel] = array.astype(moving.dtype)
    return result
