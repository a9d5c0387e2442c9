from __future__ import annotations

import numpy as np
import pytest
import torch

from custom_components.fields import affine as module
from custom_components.fields import affine_to_ddf, compose, compose_affine, jacobian_determinant, nonrigid_part


def turn(degrees: float, spatial: tuple[int, int]) -> np.ndarray:
    """(2, 3) rotation about the centre of the grid."""
    angle, centre = np.deg2rad(degrees), (np.array(spatial) - 1) / 2
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return np.c_[rotation, centre - rotation @ centre]


@pytest.mark.parametrize("spatial", [(5, 8), (3, 4, 5)])
def test_closed_form(spatial) -> None:
    dimensions = len(spatial)
    matrix = np.random.default_rng(0).normal(size=(dimensions, dimensions + 1))
    ddf = affine_to_ddf(matrix, spatial, torch.float64)
    assert ddf.shape == (1, dimensions, *spatial)
    for index in np.ndindex(*spatial):
        wanted = matrix[:, :-1] @ index + matrix[:, -1] - index
        np.testing.assert_allclose(ddf[(0, slice(None), *index)], wanted, atol=1e-12)


def test_homogeneous_matrices_and_tensors_are_taken_too() -> None:
    matrix = np.array([[1.0, 0.2, 3.0], [0.0, 0.9, -1.0], [0.0, 0.0, 1.0]])
    expected = affine_to_ddf(matrix[:2], (4, 5))
    assert expected.dtype == torch.float32
    torch.testing.assert_close(affine_to_ddf(matrix, (4, 5)), expected)
    torch.testing.assert_close(affine_to_ddf(torch.from_numpy(matrix), (4, 5)), expected)


def test_identity_is_zero() -> None:
    assert affine_to_ddf(np.eye(4), (3, 4, 5)).abs().max() == 0


@pytest.mark.parametrize("spatial", [(30, 34), (14, 15, 16)])
def test_residual_composes_back_to_the_field(spatial, smooth_field) -> None:
    dimensions = len(spatial)
    matrix = np.c_[
        np.eye(dimensions) + 0.1 * np.random.default_rng(1).normal(size=(dimensions,) * 2), np.ones(dimensions)
    ]
    ddf = smooth_field(spatial, amplitude=1.5)
    residual = nonrigid_part(matrix, ddf)
    inner = (..., *[slice(6, -6)] * dimensions)
    again = compose(affine_to_ddf(matrix, spatial, torch.float64), residual)
    torch.testing.assert_close(again[inner], ddf[inner], atol=1e-9, rtol=0)


def test_residual_of_the_affine_itself_is_zero() -> None:
    matrix = np.array([[0.0, -1.1, 12.0], [0.9, 0.1, 1.0]])
    residual = nonrigid_part(matrix, affine_to_ddf(matrix, (9, 10), torch.float64))
    torch.testing.assert_close(residual, torch.zeros_like(residual), atol=1e-9, rtol=0)


def test_compose_affine_is_the_inverse_of_affine_residual(smooth_field) -> None:
    matrix = turn(70, (20, 24))
    residual = smooth_field((20, 24), seed=1)
    torch.testing.assert_close(nonrigid_part(matrix, compose_affine(matrix, residual)), residual)


def test_compose_affine_equals_compose_inside_and_folds_nowhere(smooth_field) -> None:
    matrix, spatial = turn(90, (40, 40)), (40, 40)
    residual = smooth_field(spatial, seed=2)
    exact = compose_affine(matrix, residual)
    sampled = compose(affine_to_ddf(matrix, spatial, torch.float64), residual)
    torch.testing.assert_close(exact[..., 8:-8, 8:-8], sampled[..., 8:-8, 8:-8])
    shifted = compose_affine(matrix, torch.full((1, 2, 40, 40), 9.0))
    assert jacobian_determinant(shifted).min() > 0.99


def some_affine(dimensions: int) -> np.ndarray:
    return np.eye(dimensions, dimensions + 1) + 0.2 * np.random.default_rng(3).normal(size=(dimensions, dimensions + 1))


@pytest.mark.parametrize("function", [nonrigid_part, compose_affine])
@pytest.mark.parametrize("spatial", [(30, 34), (14, 15, 16)])
@pytest.mark.parametrize("at_once", [1, 300])
def test_taking_an_affine_out_and_in_needs_no_whole_field_at_once(
    function, spatial, at_once, smooth_field, monkeypatch
) -> None:
    field = smooth_field(spatial)
    wanted = function(some_affine(len(spatial)), field)
    monkeypatch.setattr(module, "VOXELS_AT_ONCE", at_once)
    torch.testing.assert_close(function(some_affine(len(spatial)), field), wanted, atol=1e-12, rtol=0)
    assert function(np.eye(len(spatial) + 1), field) is field


@pytest.mark.parametrize("function", [nonrigid_part, compose_affine])
@pytest.mark.parametrize("at_once", [1, 2**20])
def test_gradients_reach_matrix_and_field(function, at_once, smooth_field, monkeypatch) -> None:
    monkeypatch.setattr(module, "VOXELS_AT_ONCE", at_once)
    for matrix in (some_affine(2), np.eye(2, 3)):
        inputs = (torch.from_numpy(matrix).requires_grad_(), smooth_field((4, 5)).requires_grad_())
        assert torch.autograd.gradcheck(function, inputs)
