"""Fields on coarser and finer grids of the same field of view."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import map_coordinates

from custom_components.common.errors import InputError
from custom_components.fields import affine_to_ddf, grid_change, resize

SIZES = [((7, 10), (14, 5)), ((9, 9), (13, 4)), ((5, 6, 7), (10, 3, 9)), ((1, 6), (4, 3)), ((8, 5), (1, 1))]


def old_positions(old: tuple[int, ...], new: tuple[int, ...]) -> np.ndarray:
    """(D, *new) where the new voxels' centres lie on the old grid: both grids begin at the same EDGE."""
    axes = [(np.arange(n) + 0.5) * o / n - 0.5 for o, n in zip(old, new, strict=True)]
    return np.stack(np.meshgrid(*axes, indexing="ij"))


@pytest.mark.parametrize(("old", "new"), SIZES)
def test_agrees_with_scipy_at_half_pixel_positions(old, new) -> None:
    ddf = np.random.default_rng(0).normal(size=(2, len(old), *old))
    found = resize(torch.from_numpy(ddf), new)
    assert found.shape == (2, len(old), *new)
    for batch in range(2):
        for axis, component in enumerate(ddf[batch]):
            wanted = map_coordinates(component, old_positions(old, new), order=1, mode="nearest")
            np.testing.assert_allclose(found[batch, axis], wanted * new[axis] / old[axis], atol=1e-12)


@pytest.mark.parametrize("spatial", [(7, 10), (5, 6, 7)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_same_size_changes_nothing(spatial, dtype, smooth_field) -> None:
    ddf = smooth_field(spatial).to(dtype)
    same = resize(ddf, spatial)
    assert same.dtype == dtype
    assert torch.equal(same, ddf)  # which saves patch pyramids a copy


@given(old=st.tuples(*[st.integers(1, 9)] * 2), new=st.tuples(*[st.integers(1, 17)] * 2))
@settings(max_examples=25, deadline=None, derandomize=True)
def test_a_shift_by_a_share_of_the_picture_stays_that_share(old, new) -> None:
    fraction = torch.tensor([0.25, -0.5], dtype=torch.float64)
    ddf = (fraction * torch.tensor(old)).view(1, 2, 1, 1).expand(1, 2, *old)
    wanted = (fraction * torch.tensor(new)).view(1, 2, 1, 1).expand(1, 2, *new)
    torch.testing.assert_close(resize(ddf, new), wanted)


@pytest.mark.parametrize(("old", "new"), SIZES)
def test_grids_of_one_field_of_view_agree_at_their_rims(old, new) -> None:
    matrix, first = grid_change(old, new), [-0.5] * len(old) + [1.0]
    np.testing.assert_allclose(matrix @ [*np.array(old) - 0.5, 1], [*np.array(new) - 0.5, 1])
    np.testing.assert_allclose(matrix @ first, first)


@pytest.mark.parametrize(("old", "new"), [((9, 12), (27, 24)), ((9, 12), (5, 7)), ((6, 7, 8), (12, 9, 16))])
def test_an_affine_map_is_the_same_map_on_the_other_grid(old, new) -> None:
    """With S the change of grid, the resized field is S A S^-1 - 1."""
    dimensions = len(old)
    rng = np.random.default_rng(1)
    matrix, change = np.eye(dimensions + 1), grid_change(old, new)
    matrix[:-1] += 0.2 * rng.normal(size=(dimensions, dimensions + 1))
    found = resize(affine_to_ddf(matrix, old, torch.float64), new)
    wanted = affine_to_ddf(change @ matrix @ np.linalg.inv(change), new, torch.float64)
    positions = old_positions(old, new)
    inside = np.all([(p >= 0) & (p <= n - 1) for p, n in zip(positions, old, strict=True)], axis=0)
    assert inside.mean() > 0.3
    np.testing.assert_allclose(found[0].numpy()[:, inside], wanted[0].numpy()[:, inside], atol=1e-9)


def test_is_differentiable(smooth_field) -> None:
    assert torch.autograd.gradcheck(lambda ddf: resize(ddf, (9, 4)), (smooth_field((5, 6)).requires_grad_(),))


def test_what_is_no_field_is_refused() -> None:
    with pytest.raises(InputError, match=r"\(1, 3, 8, 8\)"):
        resize(torch.zeros(1, 3, 8, 8), (4, 4))
