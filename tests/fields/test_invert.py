from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import map_coordinates

from custom_components.fields import affine_to_ddf, best_affine, compose, invert


def turn(degrees: float, spatial: tuple[int, ...]) -> np.ndarray:
    """(D, D+1) rotation of the last two axes about the centre."""
    angle, centre = np.deg2rad(degrees), (np.array(spatial) - 1) / 2
    linear = np.eye(len(spatial))
    linear[-2:, -2:] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    return np.c_[linear, centre - linear @ centre]


@pytest.mark.parametrize("spatial", [(9, 12), (5, 6, 7)])
def test_zero_and_constant_fields(spatial) -> None:
    dimensions = len(spatial)
    for value in (0.0, 1.5):
        ddf = torch.full((1, dimensions, *spatial), value)
        inverse, residual = invert(ddf)
        torch.testing.assert_close(inverse, -ddf, atol=1e-4, rtol=0)
        assert residual.shape == (1, 1, *spatial)
        assert residual.max() < 1e-4


@pytest.mark.parametrize("spatial", [(21, 21), (20, 26), (5, 17, 16)])
@pytest.mark.parametrize("degrees", [90, -90, 180, 45])
def test_rotations_are_inverted_everywhere(spatial, degrees) -> None:
    inverse, _ = invert(affine_to_ddf(turn(degrees, spatial), spatial, torch.float64))
    wanted = affine_to_ddf(turn(-degrees, spatial), spatial, torch.float64)
    torch.testing.assert_close(inverse, wanted, atol=1e-6, rtol=0)


@given(degrees=st.floats(-180, 180), scale=st.floats(0.6, 1.6), seed=st.integers(0, 1000))
@settings(max_examples=20, deadline=None, derandomize=True)
def test_rotated_scaled_and_bent_fields(degrees, scale, seed, smooth_field) -> None:
    spatial = (48, 52)
    matrix = turn(degrees, spatial)
    matrix[:, :2] *= scale
    centre = (np.array(spatial) - 1) / 2
    matrix[:, 2] = centre - matrix[:, :2] @ centre
    forward = compose(affine_to_ddf(matrix, spatial, torch.float64), smooth_field(spatial, 2.0, 10.0, seed))
    inverse, residual = invert(forward)
    # there and back, both ways, wherever the way does not lead off the grid
    for first, second in ((forward, inverse), (inverse, forward)):
        centre_part = compose(first, second)[..., 20:-20, 20:-20]
        assert centre_part.norm(dim=1).max() < 0.02
    assert residual[..., 20:-20, 20:-20].max() < 0.01


@pytest.mark.parametrize("spatial", [(32, 35), (18, 20, 22)])
def test_residual_is_what_its_definition_says(spatial, smooth_field) -> None:
    ddf = smooth_field(spatial, amplitude=3)
    inverse, residual = invert(ddf, iterations=2)
    positions = np.indices(spatial) + inverse[0].numpy()
    back = [map_coordinates(c, positions, order=1, mode="nearest") for c in ddf[0].numpy()]
    np.testing.assert_allclose(
        residual[0, 0].numpy(), np.linalg.norm(inverse[0].numpy() + np.stack(back), axis=0), atol=1e-9
    )
    assert residual.mean() > invert(ddf)[1].mean()


def test_a_batch_is_inverted_one_by_one(smooth_field) -> None:
    single = [smooth_field((20, 22), seed=s) for s in (1, 2)]
    both, _ = invert(torch.cat([*single]), tolerance=0)
    for index, ddf in enumerate(single):
        torch.testing.assert_close(both[index : index + 1], invert(ddf, tolerance=0)[0])


def test_a_field_without_an_inverse_gives_a_finite_one_and_a_large_residual() -> None:
    noise = 10 * torch.rand(1, 2, 16, 16, generator=torch.Generator().manual_seed(0), dtype=torch.float64) - 5
    inverse, residual = invert(noise)
    assert torch.isfinite(inverse).all()
    assert residual.max() > 1


def test_best_affine_recovers_an_affine(smooth_field) -> None:
    matrix = turn(30, (20, 24))
    found = best_affine(affine_to_ddf(matrix, (20, 24), torch.float64))
    np.testing.assert_allclose(found, matrix, atol=1e-6)
