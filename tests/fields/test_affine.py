from __future__ import annotations

import numpy as np
import pytest
import torch

from custom_components.fields import affine_residual, affine_to_ddf, compose


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
    residual = affine_residual(matrix, ddf)
    inner = (..., *[slice(6, -6)] * dimensions)
    again = compose(affine_to_ddf(matrix, spatial, torch.float64), residual)
    torch.testing.assert_close(again[inner], ddf[inner], atol=1e-9, rtol=0)


def test_residual_of_the_affine_itself_is_zero() -> None:
    matrix = np.array([[0.0, -1.1, 12.0], [0.9, 0.1, 1.0]])
    residual = affine_residual(matrix, affine_to_ddf(matrix, (9, 10), torch.float64))
    torch.testing.assert_close(residual, torch.zeros_like(residual), atol=1e-9, rtol=0)
