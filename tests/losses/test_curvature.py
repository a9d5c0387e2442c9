from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from monai.losses import DiffusionLoss

from custom_components.common.errors import InputError
from custom_components.fields import affine_to_ddf, identity_grid
from custom_components.losses import CurvatureLoss

SPATIAL = [(7, 9), (5, 6, 7)]


def random_field(spatial: tuple[int, ...], batch: int = 2) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(batch, len(spatial), *spatial, dtype=torch.float64, generator=generator)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("spatial", SPATIAL)
def test_agrees_with_brute_force(spatial, weighted) -> None:
    dimensions = len(spatial)
    ddf = random_field(spatial)
    weight = torch.rand(2, 1, *spatial, dtype=torch.float64)
    count = 3**dimensions
    values = []
    for element, centre in itertools.product(range(2), itertools.product(*(range(1, side - 1) for side in spatial))):
        box = ddf[(element, slice(None), *[slice(i - 1, i + 2) for i in centre])].numpy()
        middle = ddf[(element, slice(None), *centre)].numpy()
        laplacian = ((count - 1) * middle - (box.reshape(dimensions, -1).sum(1) - middle)) / count
        factor = float(weight[(element, 0, *centre)]) if weighted else 1.0
        values.append(factor * 0.5 * (laplacian**2).sum())
    found = CurvatureLoss()(ddf, weight) if weighted else CurvatureLoss()(ddf)
    assert float(found) == pytest.approx(np.mean(values))


@pytest.mark.parametrize("spatial", SPATIAL)
def test_an_affine_field_costs_nothing(spatial) -> None:
    matrix = np.random.default_rng(0).normal(size=(len(spatial), len(spatial) + 1))
    assert float(CurvatureLoss()(affine_to_ddf(matrix, spatial, torch.float64))) < 1e-24


@pytest.mark.parametrize("spatial", SPATIAL)
def test_a_quadratic_field_has_the_closed_form(spatial) -> None:
    """The mean of (x + s)^2 over s = -1, 0, 1 is x^2 + 2/3; products of two axes have no Laplacian."""
    grid = identity_grid(spatial, dtype=torch.float64)
    factors = torch.tensor([0.3, -0.1, 0.2][: len(spatial)], dtype=torch.float64)
    first = torch.einsum("d,d...->...", factors, grid.square()) + 0.7 * grid[0] * grid[1]
    ddf = torch.stack([first, *torch.zeros(len(spatial) - 1, *spatial, dtype=torch.float64)])[None]
    assert float(CurvatureLoss()(ddf)) == pytest.approx(0.5 * (2 / 3 * float(factors.sum())) ** 2)


def test_the_weight_is_a_stiffness() -> None:
    ddf = random_field((7, 9))
    wanted = CurvatureLoss()(ddf)
    torch.testing.assert_close(CurvatureLoss()(ddf, torch.full((2, 1, 7, 9), 2.0, dtype=torch.float64)), 2 * wanted)
    assert CurvatureLoss()(ddf, torch.zeros(2, 1, 7, 9, dtype=torch.float64)) == 0
    border = torch.ones(2, 1, 7, 9, dtype=torch.float64)
    border[..., 1:-1, 1:-1] = 0
    assert CurvatureLoss()(ddf, border) == 0


def test_gradient_is_the_numerical_one() -> None:
    assert torch.autograd.gradcheck(CurvatureLoss(), (random_field((4, 5)).requires_grad_(),))


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(InputError, match=r"3 voxels a side, got \(2, 9\)"):
        CurvatureLoss()(torch.zeros(1, 2, 2, 9))
    with pytest.raises(InputError, match="ddf"):
        CurvatureLoss()(torch.zeros(1, 3, 9, 9))
    with pytest.raises(InputError, match="weight"):
        CurvatureLoss()(torch.zeros(1, 2, 9, 9), torch.ones(9, 9))


@pytest.mark.parametrize("spatial", SPATIAL)
def test_monais_diffusion_loss_has_our_form_of_field(spatial) -> None:
    """It serves as it is: the mean squared slope of a field in voxels."""
    slopes = np.random.default_rng(0).normal(size=(len(spatial),) * 2)
    ddf = affine_to_ddf(np.c_[np.eye(len(spatial)) + slopes, np.ones(len(spatial))], spatial, torch.float64)
    assert float(DiffusionLoss()(ddf)) == pytest.approx((slopes**2).sum() / len(spatial))
