"""Warping, sampling and composing."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import map_coordinates
from scipy.spatial.transform import Rotation

from custom_components.common.errors import InputError
from custom_components.fields import affine_to_ddf, compose, identity_grid, sample, sample_at, warp

SPATIAL = [(11, 14), (7, 8, 9)]


def rotation_about_centre(degrees: float, spatial: tuple[int, ...]) -> np.ndarray:
    """(D+1, D+1) turn of the last two axes about the grid's centre."""
    matrix, centre = np.eye(len(spatial) + 1), (np.array(spatial) - 1) / 2
    turn = np.eye(len(spatial))
    turn[-2:, -2:] = Rotation.from_euler("z", degrees, degrees=True).as_matrix()[:2, :2]
    matrix[:-1, :-1], matrix[:-1, -1] = turn, centre - turn @ centre
    return matrix


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("spatial", SPATIAL)
def test_zero_field_changes_nothing(spatial, dtype, smooth_image) -> None:
    image = smooth_image(spatial).to(dtype)
    warped = warp(image, torch.zeros(1, len(spatial), *spatial, dtype=dtype))
    assert warped.dtype == dtype
    torch.testing.assert_close(warped, image, atol=1e-3, rtol=0)


@pytest.mark.parametrize("spatial", SPATIAL)
def test_field_points_from_fixed_to_moving(spatial) -> None:
    """A dot at m in the moving image appears at m - u: the field says where to look."""
    moving = torch.zeros(1, 1, *spatial)
    moving[(0, 0, *[5] * len(spatial))] = 1
    shift = torch.tensor([2.0, -1.0, 1.0][: len(spatial)])
    ddf = shift.view(1, -1, *(1,) * len(spatial)).expand(1, -1, *spatial)
    warped = warp(moving, ddf)
    assert (warped[0, 0] > 0.5).nonzero().tolist() == [[5 - int(s) for s in shift]]


def test_quarter_turn_is_numpys_rot90(smooth_image) -> None:
    """The matrix takes (row, col) about the centre to (-col, row): right of the centre is looked up below it."""
    image = smooth_image((9, 9))
    ddf = affine_to_ddf(rotation_about_centre(90, (9, 9)), (9, 9), torch.float64)
    warped = warp(image, ddf)
    np.testing.assert_allclose(warped[0, 0], np.rot90(image[0, 0], -1), atol=1e-9)
    assert warped[0, 0, 4, 8] == pytest.approx(float(image[0, 0, 0, 4]))


@pytest.mark.parametrize("spatial", SPATIAL)
@pytest.mark.parametrize(("padding", "mode"), [("border", "nearest"), ("zeros", "constant")])
def test_warp_agrees_with_scipy(spatial, padding, mode, smooth_image, smooth_field) -> None:
    image, ddf = smooth_image(spatial), smooth_field(spatial, amplitude=3, sigma=2)
    positions = (identity_grid(spatial, dtype=torch.float64) + ddf[0]).numpy()
    expected = map_coordinates(image[0, 0].numpy(), positions, order=1, mode=mode)
    inside = np.all([(p >= 0) & (p <= n - 1) for p, n in zip(positions, spatial, strict=True)], axis=0)
    compared = inside if padding == "zeros" else np.ones_like(inside)  # SciPy's constant mode has no half voxel
    warped = warp(image, ddf, padding_mode=padding)[0, 0].numpy()
    np.testing.assert_allclose(warped[compared], expected[compared], atol=1e-9)


def test_nearest_keeps_labels(smooth_field) -> None:
    labels = torch.randint(0, 5, (1, 1, 15, 13), generator=torch.Generator().manual_seed(0)).float()
    warped = warp(labels, smooth_field((15, 13)).float(), mode="nearest", padding_mode="border")
    assert set(warped.unique().tolist()) <= set(labels.unique().tolist())


@pytest.mark.parametrize("spatial", SPATIAL)
def test_sample_at_voxel_centres_is_exact(spatial, smooth_image) -> None:
    image = smooth_image(spatial)
    torch.testing.assert_close(sample(image, identity_grid(spatial, dtype=torch.float64)[None]), image)


@pytest.mark.parametrize("spatial", SPATIAL)
def test_zero_is_the_neutral_element(spatial, smooth_field) -> None:
    ddf = smooth_field(spatial)
    torch.testing.assert_close(compose(ddf, torch.zeros_like(ddf)), ddf)
    torch.testing.assert_close(compose(torch.zeros_like(ddf), ddf), ddf)


@pytest.mark.parametrize("spatial", SPATIAL)
def test_compose_equals_two_warps_for_whole_voxel_shifts(spatial, smooth_image) -> None:
    image, dimensions = smooth_image(spatial), len(spatial)
    first, second = (
        torch.tensor(s[:dimensions], dtype=torch.float64).view(1, -1, *(1,) * dimensions).expand(1, -1, *spatial)
        for s in ([1.0, 2.0, 0.0], [1.0, -1.0, 2.0])
    )
    inner = (..., *[slice(2, -2)] * dimensions)
    twice = warp(warp(image, first), second)
    torch.testing.assert_close(twice[inner], warp(image, compose(first, second))[inner])


@pytest.mark.parametrize("spatial", [(40, 47), (20, 22, 24)])
def test_compose_equals_two_warps_exactly_on_ramps(spatial, smooth_field) -> None:
    """Linear interpolation of a ramp is exact, so the two sides may not differ, and the wrong order must."""
    slopes = torch.tensor([5.0, -3.0, 2.0][: len(spatial)], dtype=torch.float64)
    image = torch.einsum("d,d...->...", slopes, identity_grid(spatial, dtype=torch.float64))[None, None]
    first, second = smooth_field(spatial, seed=3), smooth_field(spatial, seed=4)
    inner = (..., *[slice(6, -6)] * len(spatial))
    twice = warp(warp(image, first), second)
    torch.testing.assert_close(twice[inner], warp(image, compose(first, second))[inner], atol=1e-9, rtol=0)
    assert (twice - warp(image, compose(second, first)))[inner].abs().max() > 0.1


@given(first=st.floats(-30, 30), second=st.floats(-30, 30))
@settings(max_examples=20, deadline=None, derandomize=True)
def test_affine_fields_compose_as_matrices(first: float, second: float) -> None:
    spatial = (21, 25)
    a, b = rotation_about_centre(first, spatial), rotation_about_centre(second, spatial)
    found = compose(*(affine_to_ddf(m, spatial, torch.float64) for m in (a, b)))
    wanted = affine_to_ddf(a @ b, spatial, torch.float64)
    torch.testing.assert_close(found[..., 6:-6, 8:-8], wanted[..., 6:-6, 8:-8], atol=1e-9, rtol=0)


@pytest.mark.parametrize("spatial", SPATIAL)
def test_points_go_through_second_then_first(spatial, smooth_field) -> None:
    first, second = smooth_field(spatial, seed=5), smooth_field(spatial, seed=6)
    points = identity_grid(spatial, dtype=torch.float64).flatten(1).T
    middle = points + sample_at(second, points)
    torch.testing.assert_close(points + sample_at(compose(first, second), points), middle + sample_at(first, middle))


def test_compose_is_differentiable(smooth_field) -> None:
    first, second = (smooth_field((6, 7), seed=s).requires_grad_() for s in (1, 2))
    assert torch.autograd.gradcheck(compose, (first, second))


@pytest.mark.parametrize("shape", [(1, 3, 8, 8), (2, 8, 8), (1, 2, 8, 8, 8), (1, 1, 8)])
def test_what_is_no_field_is_refused(shape) -> None:
    with pytest.raises(InputError, match="ddf"):
        warp(torch.zeros(1, 1, 8, 8), torch.zeros(shape))
