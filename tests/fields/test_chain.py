"""Chains of stored fields against closed forms: direction, order, units, sizes, and what lies beyond the grids."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter, map_coordinates

from custom_components.fields import (
    Link,
    apply_matrix,
    chain_ddf,
    compose,
    displacement_image,
    identity_grid,
    image_matrix,
    image_to_ddf,
    index_to_physical,
    transform_points,
    warp_along,
)

DIMENSIONS = (2, 3)
# three images of one series, odd sizes, no two alike
SHAPES = {2: [(61, 84), (75, 66), (59, 97)], 3: [(17, 20, 23), (21, 16, 25), (15, 22, 19)]}


def affine(dimensions: int, seed: int) -> np.ndarray:
    """(D+1, D+1) a turn, a shear and a shift, pixels -> pixels."""
    rng = np.random.default_rng(seed)
    matrix = np.eye(dimensions + 1)
    matrix[:-1, :-1] += rng.uniform(-0.25, 0.25, (dimensions, dimensions))
    matrix[:-1, -1] = rng.uniform(-9, 9, dimensions)
    return matrix


def link_of(function, shape, matrices, grid_step, grid_shape) -> Link:
    """A link whose field samples ``function``, pixels of the fixed image -> pixels of the moving one.

    Args:
        function: of (N, D) pixels.
        shape: of the fixed image.
        matrices: index_to_physical of the fixed and of the moving image.
        grid_step: voxel size of the field's grid in pixels of the fixed image.
        grid_shape: of that grid, which is centred on the image.
    """
    dimensions = len(shape)
    to_pixels = np.diag([grid_step] * dimensions + [1.0])
    to_pixels[:-1, -1] = (np.array(shape) - 1) / 2 - grid_step * (np.array(grid_shape) - 1) / 2
    index = np.indices(grid_shape).reshape(dimensions, -1).T.astype(float)
    moved = function(apply_matrix(to_pixels, index))
    # on two grids of their own, so that neither pixels nor one unit are taken for granted
    ddf = torch.from_numpy((apply_matrix(np.linalg.inv(to_pixels), moved) - index).T.reshape(1, -1, *grid_shape))
    image = displacement_image(ddf, matrices[0] @ to_pixels, matrices[1] @ to_pixels)
    return Link(image, *matrices)


def affine_chain(dimensions: int, oblique) -> tuple[list[Link], np.ndarray]:
    """Two links in different units and resolutions, and the affine that both make together."""
    first, second = affine(dimensions, 1), affine(dimensions, 2)
    shapes = SHAPES[dimensions]
    # the image between is measured in another unit by each of the two fields
    links = [
        link_of(lambda p: apply_matrix(first, p), shapes[0], (oblique(dimensions, 3), oblique(dimensions, 4)),
                2.0, [side // 2 + 5 for side in shapes[0]]),
        link_of(lambda p: apply_matrix(second, p), shapes[1], (oblique(dimensions, 5, 0.25), oblique(dimensions, 6)),
                3.0, [side // 3 + 4 for side in shapes[1]]),
    ]  # fmt: skip
    return links, second @ first


@pytest.mark.parametrize("dimensions", DIMENSIONS)
def test_affine_links_multiply_as_matrices_even_beyond_their_grids(dimensions, oblique) -> None:
    links, together = affine_chain(dimensions, oblique)
    points = np.random.default_rng(0).uniform(-150, 250, (200, dimensions))
    np.testing.assert_allclose(warp_along(links, points), apply_matrix(together, points), atol=5e-3)
    swapped = links[0].warp_points(links[1].warp_points(points))
    assert np.abs(swapped - apply_matrix(together, points)).max() > 1


@pytest.mark.parametrize("dimensions", DIMENSIONS)
def test_field_of_an_affine_chain_is_the_affine_between_any_two_grids(dimensions, oblique) -> None:
    links, together = affine_chain(dimensions, oblique)
    spatial = SHAPES[dimensions][2]
    fixed_grid, moving_grid = np.diag([1.5] * dimensions + [1]), np.diag([0.75] * dimensions + [1])
    fixed_grid[:-1, -1], moving_grid[:-1, -1] = -12.25, 3.5
    index = np.indices(spatial).reshape(dimensions, -1).T
    wanted = apply_matrix(np.linalg.inv(moving_grid) @ together @ fixed_grid, index) - index
    found = chain_ddf(links, fixed_grid, moving_grid, spatial)
    assert (tuple(found.shape), found.dtype) == ((1, dimensions, *spatial), torch.float32)
    np.testing.assert_allclose(found[0].flatten(1).T, wanted, atol=5e-3)


@pytest.mark.parametrize("dimensions", DIMENSIONS)
def test_one_link_on_its_own_grid_is_the_field_that_was_stored(dimensions, smooth_field, oblique) -> None:
    shape = SHAPES[dimensions][0]
    ddf, grids = smooth_field(shape, amplitude=4), (oblique(dimensions, 1), oblique(dimensions, 2))
    image = displacement_image(ddf, *grids)
    found = chain_ddf([Link(image, *grids)], np.eye(dimensions + 1), np.eye(dimensions + 1), shape)
    torch.testing.assert_close(found, ddf.float(), atol=1e-3, rtol=0)


@pytest.mark.parametrize("dimensions", DIMENSIONS)
def test_inside_its_grid_a_link_reads_the_field_as_stored_points_are_carried(dimensions, smooth_field, oblique) -> None:
    shape = SHAPES[dimensions][0]
    fixed, moving = oblique(dimensions, 1), oblique(dimensions, 2)
    image = displacement_image(smooth_field(shape, amplitude=4), fixed, moving)
    points = np.random.default_rng(0).uniform(0, np.array(shape) - 1, (300, dimensions))
    wanted = apply_matrix(np.linalg.inv(moving), transform_points(image, apply_matrix(fixed, points)))
    np.testing.assert_allclose(Link(image, fixed, moving).warp_points(points), wanted, atol=1e-6)


@pytest.mark.parametrize("dimensions", DIMENSIONS)
def test_an_identity_before_or_behind_changes_nothing(dimensions, smooth_field, oblique) -> None:
    shape, other = SHAPES[dimensions][:2]
    matrices = oblique(dimensions, 1), oblique(dimensions, 2)
    bent = Link(displacement_image(smooth_field(shape, amplitude=4), *matrices), *matrices)
    # an identity field of another unit, size and resolution
    still = link_of(lambda p: p, other, (oblique(dimensions, 7),) * 2, 2.0, [side // 2 for side in other])
    plain = np.eye(dimensions + 1)
    alone = chain_ddf([bent], plain, plain, shape)
    for links in ([still, bent], [bent, still]):
        torch.testing.assert_close(chain_ddf(links, plain, plain, shape), alone, atol=2e-4, rtol=0)
    assert not chain_ddf([], matrices[0], matrices[0], shape).abs().max() > 1e-5


def test_two_bent_links_are_the_composition_of_their_fields(smooth_field) -> None:
    shape, plain = (61, 84), index_to_physical([1.0, 1.0])
    near, far = smooth_field(shape, amplitude=5, seed=3), smooth_field(shape, amplitude=5, seed=4)
    links = [Link(displacement_image(ddf, plain, plain), plain, plain) for ddf in (near, far)]
    found = chain_ddf(links, np.eye(3), np.eye(3), shape).double()
    # compose applies its first field to the image first: that of the far image
    inner = (..., slice(6, -6), slice(6, -6))
    torch.testing.assert_close(found[inner], compose(far, near)[inner], atol=1e-4, rtol=0)
    assert (found - compose(near, far))[inner].abs().max() > 0.5


def test_a_far_image_is_pulled_straight_onto_the_first_one(smooth_image) -> None:
    """One resampling by the chain against the closed form of both known warps."""
    shapes = SHAPES[2]
    scene = smooth_image((160, 160), sigma=6)[0, 0].numpy()

    def near(points):  # first -> second image, pixels
        return apply_matrix(affine(2, 8), points) + 2 * np.sin(points[:, ::-1] / 15)

    def far(points):  # second -> third image
        return apply_matrix(affine(2, 9), points) + 2 * np.cos(points[:, ::-1] / 18)

    plain = index_to_physical([1.0, 1.0])
    links = [
        link_of(function, shape, (plain, plain), 1.0, [side + 80 for side in shape])
        for function, shape in ((near, shapes[0]), (far, shapes[1]))
    ]
    index = np.indices(shapes[0]).reshape(2, -1).T.astype(float)
    there = far(near(index))
    ddf = chain_ddf(links, np.eye(3), np.eye(3), shapes[0])
    inside = ((there >= 0) & (there <= np.array(shapes[2]) - 1)).all(axis=1).reshape(shapes[0])
    assert inside.mean() > 0.4
    # any smooth picture of the third image's size
    third = gaussian_filter(scene, 1)[: shapes[2][0], : shapes[2][1]]
    pulled = map_coordinates(third, (identity_grid(shapes[0]) + ddf[0]).numpy(), order=1, mode="nearest")
    wanted = map_coordinates(third, there.T, order=1, mode="nearest").reshape(shapes[0])
    np.testing.assert_allclose(pulled[inside], wanted[inside], atol=0.5)


def test_beyond_its_grid_a_turn_goes_on_turning() -> None:
    angle, shape = np.deg2rad(40), (50, 50)
    turn = np.eye(3)
    turn[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    plain = index_to_physical([1.0, 1.0])
    link = link_of(lambda p: apply_matrix(turn, p), shape, (plain, plain), 1.0, shape)
    outside = np.array([[-80.0, 30.0], [120.0, 140.0]])
    np.testing.assert_allclose(link.warp_points(outside), apply_matrix(turn, outside), atol=1e-3)
    # the border value, in contrast, is wrong by as much as the turn is at that distance
    ddf = image_to_ddf(link.displacement, image_matrix(link.displacement), plain, shape)
    assert np.abs(outside + ddf[0, :, 0, 30].numpy() - apply_matrix(turn, outside)).max() > 30


def test_slabs_join_without_a_seam(oblique, monkeypatch) -> None:
    links, _ = affine_chain(2, oblique)
    whole = chain_ddf(links, np.eye(3), np.eye(3), (61, 84))
    monkeypatch.setattr("custom_components.fields.chain.VOXELS_AT_ONCE", 500)
    torch.testing.assert_close(chain_ddf(links, np.eye(3), np.eye(3), (61, 84)), whole)
