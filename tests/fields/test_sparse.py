"""Fields through scattered displacements."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.interpolate import LinearNDInterpolator, RBFInterpolator
from scipy.spatial import ConvexHull

from custom_components.common.errors import InputError
from custom_components.fields import affine_to_ddf, points_to_ddf, sample_at

SPATIAL = [(27, 34), (13, 11, 14)]
METHODS = ["linear", "thin_plate"]


def scattered(spatial: tuple[int, ...], count: int, seed: int = 0) -> torch.Tensor:
    """(N, D) whole-voxel points, different from each other, off the border."""
    index = np.stack([a.ravel() for a in np.indices([n - 4 for n in spatial])], axis=1) + 2
    return torch.from_numpy(np.random.default_rng(seed).permutation(index)[:count]).double()


def inside_hull(points: torch.Tensor, spatial: tuple[int, ...]) -> np.ndarray:
    """(*spatial) truth where a voxel centre lies in the points' convex hull."""
    voxels = np.stack([a.ravel() for a in np.indices(spatial)], axis=1)
    planes = ConvexHull(points.numpy()).equations
    return np.asarray((voxels @ planes[:, :-1].T + planes[:, -1] < -1e-6).all(axis=1)).reshape(spatial)


@pytest.mark.parametrize("spatial", SPATIAL)
@pytest.mark.parametrize("method", METHODS)
@given(seed=st.integers(0, 10_000))
@settings(max_examples=4, deadline=None, derandomize=True)
def test_affine_displacements_are_reproduced_exactly_inside_the_hull(spatial, method, seed) -> None:
    dimensions = len(spatial)
    matrix = np.eye(dimensions, dimensions + 1) + 0.2 * np.random.default_rng(seed).normal(
        size=(dimensions, dimensions + 1)
    )
    truth = affine_to_ddf(matrix, spatial, torch.float64)
    points = scattered(spatial, 40, seed)
    found = points_to_ddf(points, sample_at(truth, points), spatial, method=method)
    assert found.shape == (1, dimensions, *spatial)
    assert found.dtype == torch.float32
    inside = inside_hull(points, spatial)
    assert inside.mean() > 0.1
    np.testing.assert_allclose(found[0].numpy()[:, inside], truth[0].numpy()[:, inside], atol=1e-4)


@pytest.mark.parametrize("spatial", SPATIAL)
@pytest.mark.parametrize("method", METHODS)
def test_the_field_goes_through_the_points(spatial, method) -> None:
    points = scattered(spatial, 30)
    wanted = 3 * torch.randn(points.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = sample_at(points_to_ddf(points, wanted, spatial, method=method), points)
    torch.testing.assert_close(found.double(), wanted, atol=1e-4, rtol=0)


@pytest.mark.parametrize("spatial", SPATIAL)
@pytest.mark.parametrize("method", METHODS)
def test_agrees_with_scipy_inside_the_hull(spatial, method) -> None:
    # off the lattice, where the triangulation is not unique
    points = scattered(spatial, 25, seed=3) + torch.rand(25, len(spatial), generator=torch.Generator().manual_seed(2))
    values = torch.randn(points.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    found = points_to_ddf(points, values, spatial, method=method, neighbors=None)
    voxels = np.stack([a.ravel() for a in np.indices(spatial)], axis=1)
    kind = LinearNDInterpolator if method == "linear" else RBFInterpolator
    wanted = kind(points.numpy(), values.numpy())(voxels).T.reshape(-1, *spatial)
    inside = inside_hull(points, spatial)
    np.testing.assert_allclose(found[0].numpy()[:, inside], wanted[:, inside], atol=1e-4)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("stride", [2, 3, 5])
def test_a_coarser_grid_gives_the_same_affine_map(method, stride) -> None:
    spatial = (61, 47)
    truth = affine_to_ddf(np.array([[1.1, 0.2, -3], [-0.1, 0.9, 2]]), spatial, torch.float64)
    points = torch.tensor([[-9.0, -9], [-9, 60], [75, -9], [75, 60], [30, 20]], dtype=torch.float64)
    known = points @ torch.tensor([[0.1, -0.1], [0.2, -0.1]], dtype=torch.float64) + torch.tensor([-3.0, 2.0])
    found = points_to_ddf(points, known, spatial, method=method, stride=stride)
    inner = (..., slice(stride, -stride), slice(stride, -stride))
    torch.testing.assert_close(found.double()[inner], truth[inner], atol=1e-4, rtol=0)


def test_beyond_the_hull_the_field_falls_as_a_cosine_to_zero() -> None:
    spatial, fade = (61, 61), 0.1
    width = fade * np.hypot(*spatial)
    points = torch.tensor([[10.0, 10], [10, 30], [30, 10], [30, 30]])
    found = points_to_ddf(points, torch.full((4, 2), 3.0), spatial, fade=fade)[0]
    away = np.arange(30)
    wanted = 3 * (0.5 + 0.5 * np.cos(np.pi * np.clip(away / width, 0, 1)))
    np.testing.assert_allclose(found[0, 20, 30:-1], wanted, atol=1e-5)
    np.testing.assert_allclose(found[1, 30:-1, 20], wanted, atol=1e-5)
    np.testing.assert_allclose(found[:, 10:31, 10:31], 3, atol=1e-5)
    assert found[:, :2].abs().max() == 0


@pytest.mark.parametrize("method", METHODS)
def test_an_infinite_fade_continues_the_field(method) -> None:
    found = points_to_ddf(
        torch.tensor([[10.0, 10], [10, 30], [30, 10], [30, 30]]),
        torch.full((4, 2), 3.0),
        (41, 45),
        method=method,
        fade=float("inf"),
    )
    torch.testing.assert_close(found, torch.full((1, 2, 41, 45), 3.0), atol=1e-4, rtol=0)


def test_no_fade_ends_at_the_hull() -> None:
    points = torch.tensor([[5.0, 5], [5, 15], [15, 5], [15, 15]])
    found = points_to_ddf(points, torch.ones(4, 2), (21, 21), fade=0.0)[0, 0]
    assert found[10, 15] == 1
    assert found[10, 16] == 0


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("dimensions", [2, 3])
def test_too_few_points_and_points_on_a_line_give_their_mean(method, dimensions) -> None:
    spatial = (8, 9, 7)[:dimensions]
    line = torch.arange(6.0)[:, None].expand(6, dimensions)
    for points in (line[:1], line[:dimensions], line, line[:1].expand(9, dimensions)):
        values = torch.arange(float(points.numel())).reshape(points.shape)
        distinct = values if len(points.unique(dim=0)) > 1 else values[:1]
        found = points_to_ddf(points, values, spatial, method=method)
        wanted = distinct.mean(0).view(1, -1, *(1,) * dimensions).expand(1, -1, *spatial)
        torch.testing.assert_close(found, wanted)


@pytest.mark.parametrize("spatial", SPATIAL)
def test_without_points_nothing_moves(spatial) -> None:
    nothing = torch.zeros(0, len(spatial))
    assert torch.equal(points_to_ddf(nothing, nothing, spatial), torch.zeros(1, len(spatial), *spatial))


def test_points_that_lie_twice_do_no_harm() -> None:
    points = scattered((20, 20), 12)
    values = torch.randn(12, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    twice = points_to_ddf(points.repeat(2, 1), values.repeat(2, 1), (20, 20), method="thin_plate")
    torch.testing.assert_close(twice, points_to_ddf(points, values, (20, 20), method="thin_plate"))


def test_a_thin_plate_whose_nearest_points_lie_on_a_line_takes_more_of_them() -> None:
    line = torch.stack([torch.full((12,), 4.0), torch.arange(12.0)], dim=1)
    points = torch.cat([line, torch.tensor([[28.0, 3], [27, 28]])]).double()
    values = 0.1 * points.flip(1) + 1
    found = points_to_ddf(points, values, (30, 30), method="thin_plate", neighbors=4)
    assert torch.isfinite(found).all()
    torch.testing.assert_close(sample_at(found, points).double(), values, atol=1e-4, rtol=0)


def test_smoothing_takes_noise_away() -> None:
    points = scattered((40, 40), 120)
    noise = torch.randn(120, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    exact, smooth = (
        sample_at(points_to_ddf(points, 5 + noise, (40, 40), method="thin_plate", smoothing=s), points) - 5
        for s in (0.0, 1e4)
    )
    assert exact.std() == pytest.approx(float(noise.std()), rel=1e-3)
    assert smooth.std() < 0.3 * exact.std()


@pytest.mark.parametrize(
    ("points", "values", "options", "message"),
    [
        (torch.zeros(4, 2), torch.zeros(5, 2), {}, r"got \(4, 2\) and \(5, 2\)"),
        (torch.zeros(4, 3), torch.zeros(4, 3), {}, r"must be \(N, 2\)"),
        (torch.zeros(4, 2), torch.tensor([[0.0, torch.nan]] * 4), {}, "4 of 4 points or displacements"),
        (torch.tensor([[0.0, 0], [torch.inf, 1]]), torch.zeros(2, 2), {}, "1 of 2 points"),
        (torch.zeros(4, 2), torch.zeros(4, 2), {"method": "cubic"}, "'linear' or 'thin_plate', got 'cubic'"),
    ],
)
def test_wrong_arguments_are_refused(points, values, options, message) -> None:
    with pytest.raises(InputError, match=message):
        points_to_ddf(points, values, (8, 8), **options)
