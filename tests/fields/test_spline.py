from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from scipy.interpolate import BSpline

from custom_components.common.errors import InputError
from custom_components.fields import robust_spline
from custom_components.fields.spline import (
    basis,
    bending_energy,
    design_matrix,
    distinct,
    solve_banded,
    spline_matrix,
    upper_bands,
    weighted_gram,
)

SETTINGS = {"spacing": 8.0, "smoothness": 1e-3}


def scattered(spatial, count: int = 300, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(count, len(spatial), generator=generator, dtype=torch.float64) * (torch.tensor(spatial) - 1)


def wave(points: torch.Tensor) -> torch.Tensor:
    return torch.stack([3 * torch.sin(points[:, 0] / 15) + points[:, 1] / 20, 2 * torch.cos(points[:, 1] / 17)], dim=1)


@given(position=st.floats(0, 39), spacing=st.floats(1.5, 20))
@settings(max_examples=50, deadline=None, derandomize=True)
def test_basis_is_scipys_uniform_cubic(position: float, spacing: float) -> None:
    count = int(np.ceil(39 / spacing)) + 3
    index, value = basis(np.array([position]), count, spacing)
    for i, v in zip(index[0], value[0], strict=True):
        knots = (np.arange(5) + i - 3) * spacing
        np.testing.assert_allclose(
            v, np.nan_to_num(BSpline.basis_element(knots, extrapolate=False)(position)), atol=1e-9
        )
    np.testing.assert_allclose(value.sum(), 1)


@pytest.mark.parametrize(("side", "spacing"), [(50, 6.0), (1, 3.0), (19, 4.5)])
def test_splines_reproduce_straight_lines(side: int, spacing: float) -> None:
    matrix = spline_matrix(side, spacing)
    controls = spacing * (np.arange(matrix.shape[1]) - 1)
    np.testing.assert_allclose(matrix @ controls, np.arange(side), atol=1e-7)


@pytest.mark.parametrize("spatial", [(41, 53), (13, 17, 11)])
def test_affine_displacements_are_met_everywhere(spatial) -> None:
    """Bending costs an affine nothing, so that even a stiff field goes through it and on beyond the points."""
    dimensions = len(spatial)
    points = scattered([side // 2 for side in spatial], 60)
    matrix = torch.arange(1.0, dimensions**2 + 1, dtype=torch.float64).view(dimensions, dimensions) / 30
    field, kept = robust_spline(points, points @ matrix + 2, spatial, spacing=4.0, smoothness=10.0, scale=1.0)
    grid = torch.from_numpy(np.indices(spatial)).double().flatten(1).T
    torch.testing.assert_close(field[0].flatten(1).T.double(), grid @ matrix + 2, atol=0.05, rtol=0)
    assert kept.min() > 0.99


def test_a_smooth_field_is_recovered_between_the_points() -> None:
    points = scattered((60, 70), 500)
    field, _ = robust_spline(points, wave(points), (60, 70), **SETTINGS)
    grid = torch.from_numpy(np.indices((60, 70))).double().flatten(1).T
    assert (field[0].flatten(1).T - wave(grid)).abs().max() < 0.2
    assert field.dtype == torch.float32


def test_outliers_have_no_say() -> None:
    points = scattered((60, 70), 500)
    wrong = torch.arange(500) % 3 == 0
    generator = torch.Generator().manual_seed(1)
    noise = 30 * torch.rand(500, 2, generator=generator, dtype=torch.float64) - 15
    values = torch.where(wrong[:, None], noise, wave(points))
    robust, kept = robust_spline(points, values, (60, 70), spacing=10, smoothness=1.0, scale=0.5, start_scale=10)
    plain, _ = robust_spline(points, values, (60, 70), spacing=10, smoothness=1.0)
    grid = torch.from_numpy(np.indices((60, 70))).double().flatten(1).T
    robust_error, plain_error = ((f[0].flatten(1).T - wave(grid)).norm(dim=1).mean() for f in (robust, plain))
    assert robust_error < 0.3
    assert plain_error > 3 * robust_error
    assert kept[wrong].median() < 0.01 < 0.9 < kept[~wrong].median()


def test_weight_zero_is_as_good_as_absent() -> None:
    points = scattered((40, 40), 100)
    values = wave(points)
    some = torch.arange(100) < 70
    spoiled = torch.where(some[:, None], values, 100.0)
    weighted, _ = robust_spline(points, spoiled, (40, 40), weights=some.double(), **SETTINGS)
    fewer, _ = robust_spline(points[some], values[some], (40, 40), **SETTINGS)
    torch.testing.assert_close(weighted, fewer, atol=1e-5, rtol=0)


def test_stiffer_fields_bend_less() -> None:
    points = scattered((40, 40), 200)
    bend = []
    for smoothness in (1e-3, 1.0, 1e3):
        field, _ = robust_spline(points, wave(points), (40, 40), spacing=6.0, smoothness=smoothness)
        bend.append(float(field.diff(n=2, dim=2).square().sum() + field.diff(n=2, dim=3).square().sum()))
    assert bend[0] > bend[1] > bend[2]


def test_bending_energy_is_the_integral_of_squared_second_derivatives() -> None:
    """Of the parabola ``x^2``, whose control points are the samples up to a constant: 4 per unit area."""
    counts, spacing = (43, 33), 2.0
    rows = ((np.arange(counts[0]) - 1) * spacing)[:, None] * np.ones(counts[1])
    control = (rows**2).ravel()
    area = (counts[0] - 2) * counts[1] * spacing**2
    assert control @ (bending_energy(counts, spacing) @ control) == pytest.approx(4 * area)


def test_the_banded_solution_is_the_dense_one() -> None:
    points = scattered((30, 25), 200).numpy()
    design = design_matrix(points, (9, 8), 5.0)
    matrix = design.T @ design + 0.1 * bending_energy((9, 8), 5.0) + 1e-6 * np.eye(72)
    right = np.random.default_rng(0).normal(size=(72, 2))
    found = solve_banded(upper_bands(sparse.csr_array(matrix)), right)
    np.testing.assert_allclose(found, np.linalg.solve(np.asarray(matrix), right), rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("counts", [(9, 8), (6, 7, 8)])
def test_the_normal_equations_are_linear_in_the_weights(counts) -> None:
    points = scattered([5 * (count - 3) for count in counts], 40).numpy()
    design, weights = design_matrix(points, counts, 5.0), np.random.default_rng(0).uniform(size=40)
    wanted = upper_bands(sparse.csr_array(design.T @ (design * weights[:, None])), width := 250)
    found = weighted_gram(design, 4 ** len(counts), width) @ weights
    np.testing.assert_allclose(found.reshape(wanted.shape), wanted, atol=1e-14)


def test_distinct_points_are_found_with_their_repetitions() -> None:
    points = np.array([[1.0, 2], [0.5, 2], [1, 2], [1, 3], [0.5, 2]])
    found, number = distinct(points)
    assert len(found) == 3
    np.testing.assert_array_equal(found[number], points)
    assert distinct(np.zeros((0, 2)))[0].shape == (0, 2)


def test_two_points_at_one_place_are_one_of_both_weights() -> None:
    points = scattered((40, 40), 100)
    twice, _ = robust_spline(torch.cat([points, points]), torch.cat([wave(points)] * 2), (40, 40), **SETTINGS)
    heavy, _ = robust_spline(points, wave(points), (40, 40), weights=torch.full((100,), 2.0), **SETTINGS)
    torch.testing.assert_close(twice, heavy, atol=1e-6, rtol=0)


@pytest.mark.parametrize("count", [0, 1, 2])
def test_few_points_give_a_finite_field(count: int) -> None:
    field, kept = robust_spline(torch.full((count, 2), 5.0), torch.ones(count, 2), (20, 20), scale=1.0, **SETTINGS)
    assert torch.isfinite(field).all()
    assert len(kept) == count
    assert field.abs().max() < 1.5


@pytest.mark.parametrize(
    ("points", "values"), [(torch.zeros(3, 2), torch.zeros(4, 2)), (torch.zeros(3, 3), torch.zeros(3, 3))]
)
def test_wrong_shapes_are_refused(points, values) -> None:
    with pytest.raises(InputError, match="must be"):
        robust_spline(points, values, (8, 8), **SETTINGS)


def test_values_that_are_not_finite_are_refused() -> None:
    with pytest.raises(InputError, match="not finite"):
        robust_spline(torch.full((3, 2), torch.nan), torch.zeros(3, 2), (8, 8), **SETTINGS)
