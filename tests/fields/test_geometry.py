from __future__ import annotations

import itk
import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st

from custom_components.fields import apply_matrix, index_to_physical, spacing_origin_direction
from custom_components.fields.itk_bridge import image_matrix, set_geometry


def test_2d_indices_are_row_col_and_physical_points_are_x_y() -> None:
    matrix = index_to_physical((0.5, 3.0), (10.0, 20.0))
    np.testing.assert_array_equal(
        apply_matrix(matrix, np.array([[0, 0], [1, 0], [0, 1]])), [[10, 20], [10, 23], [10.5, 20]]
    )


def test_3d_indices_are_slice_row_col_and_physical_points_are_x_y_z() -> None:
    matrix = index_to_physical((1.0, 2.0, 4.0))
    np.testing.assert_array_equal(apply_matrix(matrix, np.eye(3)), [[0, 0, 4], [0, 2, 0], [1, 0, 0]])


def test_direction_turns_the_axes() -> None:
    quarter = np.array([[0.0, -1.0], [1.0, 0.0]])  # the image's x axis points along the world's y
    matrix = index_to_physical((1.0, 1.0), direction=quarter)
    np.testing.assert_allclose(apply_matrix(matrix, np.array([[0.0, 1.0], [1.0, 0.0]])), [[0, 1], [-1, 0]])


@pytest.mark.parametrize("dimensions", [2, 3])
@given(seed=st.integers(0, 10_000))
@settings(max_examples=20, deadline=None, derandomize=True)
def test_geometry_of_is_the_inverse(dimensions: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    direction, _ = np.linalg.qr(rng.normal(size=(dimensions, dimensions)))
    spacing, origin = rng.uniform(1e-3, 1e3, dimensions), rng.normal(size=dimensions) * 1e3
    found = spacing_origin_direction(index_to_physical(spacing, origin, direction))
    for got, wanted in zip(found, (spacing, origin, direction), strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("dimensions", [2, 3])
def test_agrees_with_itk(dimensions: int, oblique) -> None:
    matrix = oblique(dimensions)
    spacing, origin, direction = spacing_origin_direction(matrix)
    image = itk.image_from_array(np.zeros((5, 6, 7)[:dimensions], np.float32))
    image.SetSpacing(spacing.tolist())
    image.SetOrigin(origin.tolist())
    image.SetDirection(itk.matrix_from_array(np.ascontiguousarray(direction)))
    index = np.array([[2, 3, 1], [0, 0, 0], [4, 0, 5]])[:, :dimensions]
    wanted = [tuple(image.TransformIndexToPhysicalPoint([int(i) for i in reversed(row)])) for row in index]
    np.testing.assert_allclose(apply_matrix(matrix, index), wanted, atol=1e-12)
    same = sitk.Image([7, 6, 5][-dimensions:], sitk.sitkFloat32)
    set_geometry(same, matrix)
    np.testing.assert_allclose(image_matrix(same), matrix, atol=1e-12)
    assert np.allclose(same.GetDirection(), itk.array_from_matrix(image.GetDirection()).ravel())


def test_no_points_stay_no_points() -> None:
    assert apply_matrix(np.eye(3), np.zeros((0, 2))).shape == (0, 2)
