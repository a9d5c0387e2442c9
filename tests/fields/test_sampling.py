"""Coordinates of voxels, and values between them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import map_coordinates

from custom_components.fields import identity_grid, sample

SPATIAL = [(7, 10), (1, 5), (5, 4, 7), (3, 1, 6)]


@pytest.mark.parametrize("spatial", SPATIAL)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_coordinates_are_numpys_indices(spatial, dtype) -> None:
    grid = identity_grid(spatial, dtype=dtype)
    assert grid.dtype == dtype
    np.testing.assert_array_equal(grid, np.indices(spatial))


def test_a_grid_without_voxels_is_empty() -> None:
    assert identity_grid((0, 4)).shape == (2, 0, 4)


@pytest.mark.parametrize("spatial", SPATIAL)
@pytest.mark.parametrize(("padding", "mode"), [("border", "nearest"), ("zeros", "grid-constant")])
def test_sampling_agrees_with_scipy_inside_and_outside(spatial, padding, mode) -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(size=(2, 3, *spatial))
    positions = rng.uniform(-2, np.array(spatial) + 1, size=(2, 40, len(spatial)))
    found = sample(
        torch.from_numpy(values),
        torch.from_numpy(positions).movedim(-1, 1).reshape(2, len(spatial), 40, *(1,) * (len(spatial) - 1)),
        padding,
    ).reshape(2, 3, 40)
    for batch in range(2):
        for channel in range(3):
            wanted = map_coordinates(values[batch, channel], positions[batch].T, order=1, mode=mode)
            np.testing.assert_allclose(found[batch, channel], wanted, atol=1e-12)


@pytest.mark.parametrize("dimensions", [2, 3])
@given(
    slopes=st.lists(st.floats(-5, 5), min_size=3, max_size=3),
    place=st.lists(st.floats(0, 1), min_size=3, max_size=3),
)
@settings(max_examples=20, deadline=None, derandomize=True)
def test_a_ramp_is_reproduced_at_any_position(dimensions, slopes, place) -> None:
    spatial = (5, 8, 7)[:dimensions]
    slope = torch.tensor(slopes[:dimensions], dtype=torch.float64)
    ramp = torch.einsum("d,d...->...", slope, identity_grid(spatial, dtype=torch.float64))[None, None]
    position = torch.tensor([p * (n - 1) for p, n in zip(place, spatial, strict=False)], dtype=torch.float64)
    found = sample(ramp, position.view(1, -1, *(1,) * dimensions))
    assert float(found) == pytest.approx(float(slope @ position), abs=1e-9)


def test_half_way_lies_the_mean_of_the_neighbours() -> None:
    values = torch.tensor([[[[1.0, 3.0, 8.0]]]])
    positions = torch.tensor([[0.0, 0.0, 0.0], [0.5, 1.5, 2.5]]).reshape(1, 2, 1, 3)
    assert sample(values, positions).flatten().tolist() == [2.0, 5.5, 8.0]


def test_a_constant_stays_constant_everywhere() -> None:
    positions = 40 * torch.rand(1, 2, 9, 9, generator=torch.Generator().manual_seed(0)) - 20
    torch.testing.assert_close(sample(torch.full((1, 1, 5, 6), 7.0), positions), torch.full((1, 1, 9, 9), 7.0))


def test_the_result_has_the_type_of_the_values_and_the_shape_of_the_positions() -> None:
    found = sample(torch.zeros(1, 4, 5, 6), torch.zeros(1, 2, 3, 11, dtype=torch.float64))
    assert found.dtype == torch.float32
    assert found.shape == (1, 4, 3, 11)


def test_gradients_reach_values_and_positions() -> None:
    generator = torch.Generator().manual_seed(0)
    values = torch.rand(1, 2, 5, 6, generator=generator, dtype=torch.float64, requires_grad=True)
    positions = (0.6 + 3 * torch.rand(1, 2, 3, 2, generator=generator, dtype=torch.float64)).requires_grad_()
    assert torch.autograd.gradcheck(sample, (values, positions))
