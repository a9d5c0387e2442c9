"""Displacements at points between voxels."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import map_coordinates

from custom_components.common.errors import InputError
from custom_components.fields import affine_to_ddf, identity_grid, sample_at


@pytest.mark.parametrize("spatial", [(9, 14), (1, 5), (5, 6, 7)])
def test_agrees_with_scipy_and_keeps_the_border_value_outside(spatial) -> None:
    rng = np.random.default_rng(0)
    ddf = rng.normal(size=(1, len(spatial), *spatial))
    points = rng.uniform(-3, np.array(spatial) + 2, size=(60, len(spatial)))
    wanted = np.stack([map_coordinates(c, points.T, order=1, mode="nearest") for c in ddf[0]], axis=1)
    found = sample_at(torch.from_numpy(ddf), torch.from_numpy(points))
    assert found.shape == points.shape
    np.testing.assert_allclose(found, wanted, atol=1e-12)


@pytest.mark.parametrize("spatial", [(9, 14), (5, 6, 7)])
def test_voxel_centres_give_the_field_itself(spatial, smooth_field) -> None:
    ddf = smooth_field(spatial)
    points = identity_grid(spatial, dtype=torch.float64).flatten(1).T
    torch.testing.assert_close(sample_at(ddf, points), ddf[0].flatten(1).T)


@given(row=st.floats(0, 10), column=st.floats(0, 6), seed=st.integers(0, 99))
@settings(max_examples=25, deadline=None, derandomize=True)
def test_points_of_an_affine_field_go_where_the_matrix_says(row, column, seed) -> None:
    matrix = np.random.default_rng(seed).normal(size=(2, 3))
    point = torch.tensor([[row, column]], dtype=torch.float64)
    found = point + sample_at(affine_to_ddf(matrix, (11, 7), torch.float64), point)
    np.testing.assert_allclose(found[0], matrix @ [row, column, 1], atol=1e-9)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("count", [0, 1, 3])
def test_any_number_of_points_in_the_type_of_the_field(dtype, count) -> None:
    found = sample_at(torch.ones(1, 3, 4, 5, 6, dtype=dtype), torch.ones(count, 3, dtype=torch.float64))
    assert found.dtype == dtype
    torch.testing.assert_close(found, torch.ones(count, 3, dtype=dtype))


def test_single_precision_holds_on_grids_of_thousands_of_voxels() -> None:
    points = torch.tensor([[3.25, 4990.75], [0.5, 2500.125]], dtype=torch.float64)
    ramp = affine_to_ddf(np.array([[1.0, 0.0, 0.0], [0.0, 1.1, 0.0]]), (8, 5000))
    torch.testing.assert_close(sample_at(ramp, points).double()[:, 1], 0.1 * points[:, 1], atol=1e-3, rtol=0)


def test_gradients_reach_field_and_points(smooth_field) -> None:
    points = torch.tensor([[1.3, 2.6], [3.2, 0.4]], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(sample_at, (smooth_field((6, 7)).requires_grad_(), points))


@pytest.mark.parametrize(
    ("field", "points"),
    [((2, 2, 8, 8), (4, 2)), ((1, 2, 8, 8), (4, 3)), ((1, 2, 8, 8), (2,)), ((1, 3, 8, 8, 8), (0, 2))],
)
def test_wrong_shapes_are_refused(field, points) -> None:
    with pytest.raises(InputError, match="lookup needs one field and points"):
        sample_at(torch.zeros(field), torch.zeros(points))
