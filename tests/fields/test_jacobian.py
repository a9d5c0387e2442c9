"""Local volume change, folding and its repair."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from custom_components.common.errors import InputError
from custom_components.fields import (
    affine_to_ddf,
    folding_share,
    identity_grid,
    jacobian_determinant,
    log_jacobian_deviation,
    repair_folds,
)
from custom_components.fields import jacobian as module

SPATIAL = [(9, 12), (6, 7, 8)]


def fold(spatial: tuple[int, ...], depth: float = 3.0, width: float = 2.0) -> torch.Tensor:
    """(1, D, *spatial) field that folds across the middle of the last axis, and nowhere else."""
    grid = identity_grid(spatial, dtype=torch.float64)
    offset = grid - torch.tensor(spatial).view(-1, *(1,) * len(spatial)) / 2
    ddf = torch.zeros(1, len(spatial), *spatial, dtype=torch.float64)
    ddf[0, -1] = -depth * offset[-1] * torch.exp(-offset.square().sum(0) / (2 * width**2))
    return ddf


@pytest.mark.parametrize("spatial", SPATIAL)
@given(seed=st.integers(0, 10_000))
@settings(max_examples=15, deadline=None, derandomize=True)
def test_an_affine_map_has_the_determinant_of_its_matrix_everywhere(spatial, seed) -> None:
    matrix = np.random.default_rng(seed).normal(size=(len(spatial), len(spatial) + 1))
    found = jacobian_determinant(affine_to_ddf(matrix, spatial, torch.float64))
    np.testing.assert_allclose(found, np.full((1, *spatial), np.linalg.det(matrix[:, :-1])), atol=1e-9)


@pytest.mark.parametrize("spatial", SPATIAL)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_no_displacement_has_determinant_one(spatial, dtype) -> None:
    found = jacobian_determinant(torch.full((2, len(spatial), *spatial), 5.0, dtype=dtype))
    assert found.dtype == dtype
    torch.testing.assert_close(found, torch.ones(2, *spatial, dtype=dtype))


def test_a_mirror_is_negative_and_a_collapse_zero() -> None:
    mirror = affine_to_ddf(np.array([[-1.0, 0, 7], [0, 1, 0]]), (8, 8))
    collapse = affine_to_ddf(np.array([[0.0, 0, 3], [0, 1, 0]]), (8, 8))
    torch.testing.assert_close(jacobian_determinant(mirror), -torch.ones(1, 8, 8))
    torch.testing.assert_close(jacobian_determinant(collapse), torch.zeros(1, 8, 8))
    assert folding_share(mirror) == folding_share(collapse) == 1


def test_quadratic_fields_are_exact_inside() -> None:
    """u = (a r^2, b r c): det = (1 + 2 a r)(1 + b r), as nothing in u's rows depends on c."""
    r, c = identity_grid((9, 11), dtype=torch.float64)
    ddf = torch.stack([0.05 * r**2, -0.03 * r * c])[None]
    wanted = (1 + 0.1 * r) * (1 - 0.03 * r)
    torch.testing.assert_close(jacobian_determinant(ddf)[0, 1:-1, 1:-1], wanted[1:-1, 1:-1])
    # one-sided at the border: the slope half a voxel away
    assert float(jacobian_determinant(ddf)[0, 0, 5]) == pytest.approx(1 + 0.05)


@pytest.mark.parametrize("spatial", SPATIAL)
def test_agrees_with_numpys_gradient(spatial, smooth_field) -> None:
    ddf = smooth_field(spatial, amplitude=4, sigma=1.5)
    jacobian = np.stack([np.stack(np.gradient(c), axis=-1) for c in ddf[0].numpy()], axis=-2) + np.eye(len(spatial))
    np.testing.assert_allclose(jacobian_determinant(ddf)[0], np.linalg.det(jacobian), atol=1e-9)


def test_a_single_slice_is_as_the_plane(smooth_field) -> None:
    plane = smooth_field((10, 11), amplitude=3, sigma=2)
    volume = torch.cat([torch.zeros(1, 1, 1, 10, 11, dtype=plane.dtype), plane[:, :, None]], dim=1)
    torch.testing.assert_close(jacobian_determinant(volume)[:, 0], jacobian_determinant(plane))


@pytest.mark.parametrize("spatial", [(21, 24), (11, 12, 15)])
def test_a_fold_turns_the_sign_where_it_lies(spatial) -> None:
    ddf = fold(spatial)
    determinant = jacobian_determinant(ddf)[0]
    assert determinant[tuple(n // 2 for n in spatial)] < 0
    assert determinant[(0,) * len(spatial)] > 0
    assert folding_share(ddf) == float((determinant <= 0).double().mean())
    assert 0 < folding_share(ddf) < 0.3


def test_only_voxels_of_the_mask_count() -> None:
    ddf = torch.cat([fold((21, 24)), torch.zeros(1, 2, 21, 24, dtype=torch.float64)])
    folded = (jacobian_determinant(ddf) <= 0)[:, None]
    assert folding_share(ddf, folded.float()) == 1
    assert folding_share(ddf, 1 - folded.float()) == 0
    assert folding_share(ddf, torch.zeros(2, 1, 21, 24)) == 0
    assert folding_share(ddf) == pytest.approx(folding_share(ddf[:1]) / 2)


@pytest.mark.parametrize("spatial", [(21, 24), (11, 12, 15)])
def test_a_field_without_folds_is_left_alone(spatial, smooth_field) -> None:
    ddf = smooth_field(spatial, amplitude=1.0)
    assert jacobian_determinant(ddf).min() > 0.1
    assert torch.equal(repair_folds(ddf), ddf)


@pytest.mark.parametrize("spatial", [(41, 44), (17, 18, 20)])
def test_folds_are_smoothed_away_and_only_there(spatial) -> None:
    ddf = fold(spatial, width=1.5)
    before = ddf.clone()
    repaired = repair_folds(ddf)
    assert torch.equal(ddf, before)
    assert folding_share(before) > 0
    assert jacobian_determinant(repaired).min() >= 0.1
    assert torch.equal(repaired[..., 0], before[..., 0])
    assert repaired.abs().max() <= before.abs().max()


@given(seed=st.integers(0, 1000), amplitude=st.floats(2, 8))
@settings(max_examples=8, deadline=None, derandomize=True)
def test_any_torn_field_comes_out_without_folds(seed, amplitude, smooth_field) -> None:
    ddf = smooth_field((30, 33), amplitude, 1.5, seed)
    assert folding_share(repair_folds(ddf)) == 0


def test_the_wanted_minimum_is_reached_and_no_round_changes_nothing() -> None:
    ddf = fold((41, 44), depth=0.6)  # strong compression, no fold
    assert folding_share(ddf) == 0
    assert jacobian_determinant(repair_folds(ddf, minimum=0.6)).min() >= 0.6
    assert torch.equal(repair_folds(ddf, minimum=0.6, iterations=0), ddf)


@pytest.mark.parametrize("spatial", [(41, 53), (17, 18, 20), (1, 22, 31)])
@pytest.mark.parametrize("side", [4, 7, 16])
def test_tiles_change_nothing(spatial, side, smooth_field, monkeypatch) -> None:
    ddf = smooth_field(spatial, amplitude=8.0, sigma=2.0)
    mask = (smooth_field(spatial, seed=1)[:, :1] > 0).float()
    whole = jacobian_determinant(ddf), folding_share(ddf), folding_share(ddf, mask), repair_folds(ddf)
    assert whole[1] > 0
    monkeypatch.setattr(module, "TILE", {2: side, 3: side})
    assert torch.equal(jacobian_determinant(ddf), whole[0])
    assert (folding_share(ddf), folding_share(ddf, mask)) == whole[1:3]
    assert torch.equal(repair_folds(ddf), whole[3])


def test_tiles_do_not_stop_gradients(smooth_field, monkeypatch) -> None:
    monkeypatch.setattr(module, "TILE", {2: 3})
    assert torch.autograd.gradcheck(jacobian_determinant, (smooth_field((4, 5)).requires_grad_(),))


def test_the_determinant_is_differentiable(smooth_field) -> None:
    assert torch.autograd.gradcheck(jacobian_determinant, (smooth_field((4, 5)).requires_grad_(),))


def test_what_is_no_field_is_refused() -> None:
    with pytest.raises(InputError, match="ddf"):
        jacobian_determinant(torch.zeros(1, 1, 8, 8))


@pytest.mark.parametrize("spatial", [(40, 30), (12, 14, 10)])
def test_the_deviation_of_the_logarithm_of_the_determinant(spatial) -> None:
    """exp(a x) - 1 stretches by exp(a x): the logarithm is linear in x."""
    dimensions, rate = len(spatial), 0.02
    along = torch.arange(spatial[0], dtype=torch.float64)
    ddf = torch.zeros(1, dimensions, *spatial, dtype=torch.float64)
    ddf[:, 0] = (torch.exp(rate * along) / rate - along).view(-1, *(1,) * (dimensions - 1))
    inside = torch.zeros(1, 1, *spatial)
    inside[:, :, 1:-1] = 1  # central differences; theirs of an exponential are off by a constant factor
    wanted = float((rate * along[1:-1]).std(correction=0))
    assert log_jacobian_deviation(ddf, inside) == pytest.approx(wanted, rel=1e-6)
    assert log_jacobian_deviation(torch.zeros_like(ddf)) == 0
    assert log_jacobian_deviation(ddf, 0 * inside) == 0
    folded = ddf.clone()
    folded[:, 0, 5] += 30
    assert np.isfinite(log_jacobian_deviation(folded))
