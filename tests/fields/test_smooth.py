from __future__ import annotations

import pytest
import torch
from scipy.ndimage import gaussian_filter

from custom_components.fields import smooth


@pytest.mark.parametrize("shape", [(31, 40), (23, 30, 25)])
def test_inside_it_is_the_gaussian_filter_of_scipy(shape) -> None:
    field = torch.rand(1, len(shape), *shape, dtype=torch.float64)
    sigma, rim = 1.5, 8
    wanted = torch.from_numpy(gaussian_filter(field[0, 0].numpy(), sigma, truncate=8))
    inside = tuple(slice(rim, side - rim) for side in shape)
    assert torch.allclose(smooth(field, sigma)[0, 0][inside], wanted[inside], atol=1e-6)


@pytest.mark.parametrize("shape", [(1, 7), (5, 6, 1)])
def test_a_constant_stays_what_it_is_at_the_border_too(shape) -> None:
    field = torch.full((2, 3, *shape), 1.7)
    assert torch.allclose(smooth(field, 4.0), field)


def test_no_smoothing_returns_the_field_itself() -> None:
    field = torch.rand(1, 2, 4, 5)
    assert smooth(field, 0.0) is field
