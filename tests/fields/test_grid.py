"""The geometry of an image against its definition: where the centres of pixels lie."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.data import MetaTensor
from monai.transforms import Flip

from custom_components.common.errors import InputError
from custom_components.fields import Grid, apply_matrix, index_to_physical
from custom_components.transforms.working import shrink

Make = Callable[[tuple[int, ...]], Grid]
SHAPES = [(7, 10), (33, 12), (5, 4, 7)]


@pytest.fixture
def turned(oblique: Callable[[int], np.ndarray]) -> Make:
    """Factory of grids with uneven spacing, a rotated direction and a shifted origin."""

    def make(shape: tuple[int, ...]) -> Grid:
        return Grid(shape, oblique(len(shape)), "millimetre", known=True)

    return make


def indices(shape: tuple[int, ...]) -> np.ndarray:
    """(N, D) all indices of a grid."""
    return np.stack([axis.ravel() for axis in np.indices(shape)], axis=1).astype(np.float64)


def places(changed: Grid, whole: Grid) -> np.ndarray:
    """(N, D) indices of ``whole`` at the pixels of a grid made of it."""
    assert (changed.unit, changed.known) == (whole.unit, whole.known)
    return whole.index(changed.physical(indices(changed.shape)))


# what a grid is


def test_a_grid_of_pixels_has_their_size_and_its_origin_in_the_first() -> None:
    plain, sized = Grid.of_pixels((4, 6)), Grid.of_pixels((4, 6), (0.5, 0.25))
    assert (plain.shape, plain.unit, plain.known) == ((4, 6), "pixel", False)
    assert (sized.unit, sized.known) == ("micrometre", False)
    # physical coordinates are x, y
    np.testing.assert_array_equal(plain.physical(np.array([[0.0, 0], [1, 3]])), [[0, 0], [3, 1]])
    np.testing.assert_array_equal(sized.physical(np.array([[0.0, 0], [1, 3]])), [[0, 0], [0.75, 0.5]])
    np.testing.assert_array_equal(sized.spacing, [0.5, 0.25])


@pytest.mark.parametrize("shape", SHAPES)
def test_spacing_is_the_distance_of_neighbours(turned: Make, shape: tuple[int, ...]) -> None:
    grid = turned(shape)
    start = grid.physical(np.zeros((1, len(shape))))
    steps = grid.physical(np.eye(len(shape))) - start
    np.testing.assert_allclose(grid.spacing, np.linalg.norm(steps, axis=1))
    assert grid.shear < 1e-9


@pytest.mark.parametrize("degrees", [90, 89.9, 60, 120])
def test_shear_is_the_cosine_of_the_angle_between_axes(degrees: float) -> None:
    angle = np.deg2rad(degrees)
    grid = Grid((4, 5), np.array([[0.0, 2, 7], [3, 0, -1], [0, 0, 1]]))
    matrix = grid.matrix.copy()
    matrix[:2, 1] = 2 * np.sin(angle), 2 * np.cos(angle)
    assert Grid((4, 5), matrix).shear == pytest.approx(abs(np.cos(angle)), abs=1e-12)


@pytest.mark.parametrize("shape", SHAPES)
def test_corners_are_the_outer_ends_of_the_border_pixels(turned: Make, shape: tuple[int, ...]) -> None:
    grid = turned(shape)
    found = grid.index(grid.corners)
    wanted = list(product(*((-0.5, side - 0.5) for side in shape)))
    assert sorted(map(tuple, found.round(9))) == sorted(wanted)


def test_a_grid_does_not_change() -> None:
    matrix = np.eye(3)
    grid = Grid([np.int64(4), 5], matrix)  # type: ignore[arg-type]
    matrix[0, 0] = 9
    assert grid.matrix[0, 0] == 1
    assert grid.shape == (4, 5)
    assert all(type(side) is int for side in grid.shape)
    with pytest.raises(ValueError, match="read-only"):
        grid.matrix[0, 0] = 2
    with pytest.raises(AttributeError):
        grid.unit = "millimetre"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("matrix", "unit", "said"),
    [
        (np.diag([1.0, 0.0, 1.0]), "pixel", "finite and invertible"),
        (np.array([[1.0, 2, 0], [2, 4, 0], [0, 0, 1]]), "pixel", "finite and invertible"),
        (np.diag([1.0, np.nan, 1.0]), "pixel", "finite and invertible"),
        (np.array([[1.0, 0, np.inf], [0, 1, 0], [0, 0, 1]]), "pixel", "finite and invertible"),
        (np.eye(4), "pixel", r"\(4, 5\) needs a matrix of 3 x 3, got \(4, 4\)"),
        (np.eye(2), "pixel", "needs a matrix of 3 x 3"),
        (np.ones(3), "pixel", "needs a matrix of 3 x 3"),
        (np.eye(3), "inch", "one of pixel, micrometre, millimetre, got 'inch'"),
    ],
)
def test_what_is_no_grid_is_refused(matrix: np.ndarray, unit: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        Grid((4, 5), matrix, unit)


# what is made of it


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("factors", [(0.5, 0.5, 0.5), (0.3, 1.0, 0.7), (2.0, 0.01, 0.6)])
def test_other_resolutions_keep_the_field_of_view(
    turned: Make, shape: tuple[int, ...], factors: tuple[float, ...]
) -> None:
    grid, each = turned(shape), factors[: len(shape)]
    shrunk = grid.shrunk(each)
    assert shrunk.shape == tuple(max(1, round(side * f)) for side, f in zip(shape, each, strict=True))
    for other in (shrunk, grid.resized(shrunk.shape), grid.resized([3] * len(shape))):
        assert (other.unit, other.known) == ("millimetre", True)
        np.testing.assert_allclose(other.corners, grid.corners, atol=1e-9)
    # equal steps between the corners, so the centre of each is where it belongs
    steps = np.array(shape) / shrunk.shape
    np.testing.assert_allclose(places(shrunk, grid), (indices(shrunk.shape) + 0.5) * steps - 0.5, atol=1e-9)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("scale", [1.0, 0.97, 0.5, 0.33])
def test_one_factor_is_of_all_axes_and_as_the_image_shrinks(shape: tuple[int, ...], scale: float) -> None:
    grid = Grid.of_pixels(shape)
    shrunk = grid.shrunk(scale)
    assert shrunk.same_space(grid.shrunk([scale] * len(shape)))
    assert shrunk.shape == tuple(shrink(torch.zeros(1, *shape), scale).shape[1:])


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("factor", range(1, 6))
def test_an_averaged_pixel_lies_in_the_middle_of_its_block(turned: Make, shape: tuple[int, ...], factor: int) -> None:
    grid = turned(shape)
    block_mean = grid.averaged(factor)
    # blocks of an image continued beyond its end, their indices averaged as its values would be
    whole = tuple(-(-side // factor) * factor for side in shape)
    index = np.indices(whole).astype(np.float64)
    for axis in range(len(shape)):
        split = (*index.shape[: axis + 1], -1, factor, *index.shape[axis + 2 :])
        index = index.reshape(split).mean(axis=axis + 2)
    assert block_mean.shape == index.shape[1:]
    np.testing.assert_allclose(places(block_mean, grid), index.reshape(len(shape), -1).T, atol=1e-9)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("factor", range(1, 6))
def test_finer_is_undone_by_averaging(turned: Make, shape: tuple[int, ...], factor: int) -> None:
    grid = turned(shape)
    finer = grid.finer(factor)
    assert finer.shape == tuple(side * factor for side in shape)
    np.testing.assert_allclose(finer.spacing * factor, grid.spacing)
    np.testing.assert_allclose(finer.corners, grid.corners, atol=1e-9)
    np.testing.assert_allclose(places(finer, grid), (indices(finer.shape) + 0.5) / factor - 0.5, atol=1e-9)
    assert finer.averaged(factor).same_space(grid, 1e-9)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("factor", range(1, 7))
def test_striding_takes_the_middle_pixel_of_each_block(turned: Make, shape: tuple[int, ...], factor: int) -> None:
    grid = turned(shape)
    strided = grid.strided(factor)
    middle = (factor - 1) // 2
    taken = np.indices(shape)[(slice(None), *[slice(middle, None, factor)] * len(shape))]
    assert strided.shape == taken.shape[1:]
    np.testing.assert_allclose(places(strided, grid), taken.reshape(len(shape), -1).T, atol=1e-9)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("more", [(0, 0, 0), (1, 2, 3), (5, 0, 8)])
def test_padding_moves_every_pixel_with_the_image(turned: Make, shape: tuple[int, ...], more: tuple[int, ...]) -> None:
    grid = turned(shape)
    number = np.arange(1, 1 + np.prod(shape)).reshape(shape)
    extra = more[: len(shape)]
    padded = np.pad(number, [(m // 2, m - m // 2) for m in extra])
    found = grid.padded(padded.shape)
    assert found.shape == padded.shape
    inside = padded.ravel() > 0
    np.testing.assert_allclose(places(found, grid)[inside], indices(shape), atol=1e-9)


def test_padding_to_less_is_refused() -> None:
    with pytest.raises(InputError, match=r"\(30, 30\) does not fit into \(20, 40\)"):
        Grid.of_pixels((30, 30)).padded((20, 40))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("start", [(0, 0, 0), (2, 1, 3), (-2, 3, -1), (0.5, -0.25, 1.5)])
def test_a_crop_starts_at_its_index(turned: Make, shape: tuple[int, ...], start: tuple[float, ...]) -> None:
    grid, first, size = turned(shape), np.array(start[: len(shape)]), (3, 5, 2)[: len(shape)]
    found = grid.cropped(first, size)
    assert found.shape == size
    np.testing.assert_allclose(places(found, grid), indices(size) + first, atol=1e-9)
    if (first >= 0).all():
        assert found.cropped(-first, shape).same_space(grid)


# levels


@pytest.mark.parametrize("factor", range(1, 17))
def test_every_whole_factor_of_a_pyramid_is_found_again(factor: int) -> None:
    """Also where one side was rounded up and the other down, which must not shift what is far from the border."""
    others = (6144, 9000, 5793, 8000)
    wanted = [[factor, 0, (factor - 1) / 2], [0, factor, (factor - 1) / 2], [0, 0, 1]]
    for number, side in enumerate([5793, *range(5793 + factor % 8, 8001, 8), 6144, 8000, 9000]):
        grid = Grid((side, others[number % 4]), np.eye(3))
        up, down = ([-(-s // factor) for s in grid.shape], [s // factor for s in grid.shape])
        mixed = number // 4 % 2
        for level in ((up[0], (up, down)[mixed][1]), (down[0], (down, up)[mixed][1])):
            assert grid.level(level).matrix.tolist() == wanted, (grid.shape, level)


@given(st.integers(1, 5000), st.integers(0, 6), st.booleans())
def test_halved_sides_are_known_as_such(side: int, halvings: int, up: bool) -> None:
    factor = 1 << halvings
    small = -(-side // factor) if up else max(side // factor, 1)
    if small < 4:  # so few pixels may come from several factors
        return
    matrix = Grid((side, side), np.eye(3)).level((small, small)).matrix
    np.testing.assert_allclose(np.diag(matrix)[:2], factor)
    np.testing.assert_allclose(matrix[:2, 2], (factor - 1) / 2)


def test_a_level_is_placed_on_the_grid_it_is_of(turned: Make) -> None:
    grid = turned((257, 301))
    level = grid.level((64, 76))
    assert (level.shape, level.unit, level.known) == ((64, 76), "millimetre", True)
    np.testing.assert_allclose(places(level, grid), indices((64, 76)) * 4 + 1.5, atol=1e-9)
    assert grid.level((65, 76)).same_space(grid.averaged(4))
    assert grid.level(grid.shape).same_space(grid)


def test_of_few_pixels_a_power_of_two_is_taken() -> None:
    for shape, part, factor in (((10, 10), (3, 3), 4), ((9, 7), (1, 1), 8), ((100, 3), (50, 2), 2)):
        np.testing.assert_allclose(Grid.of_pixels(shape).level(part).spacing, factor)


@pytest.mark.parametrize(
    ("shape", "part"), [((1000, 700), (300, 210)), ((1000, 700), (500, 350 // 2)), ((40, 30), (60, 45))]
)
def test_other_levels_span_the_field_of_view(shape: tuple[int, int], part: tuple[int, int]) -> None:
    grid = Grid.of_pixels(shape, (0.5, 0.25))
    level = grid.level(part)
    assert level.shape == part
    np.testing.assert_allclose(level.corners, grid.corners)


# between grids


@pytest.mark.parametrize("shape", SHAPES)
@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=10, deadline=None)
def test_index_undoes_physical_and_to_goes_through_both(shape: tuple[int, ...], seed: int) -> None:
    rng = np.random.default_rng(seed)
    grids = []
    for _ in range(2):
        axes, _ = np.linalg.qr(rng.standard_normal([len(shape)] * 2))
        steps, origin = rng.uniform(0.2, 3, len(shape)), rng.uniform(-90, 90, len(shape))
        grids.append(Grid(shape, index_to_physical(steps, origin, axes)))
    one, other = grids
    points = rng.uniform(-20, 60, (30, len(shape)))
    np.testing.assert_allclose(one.index(one.physical(points)), points, atol=1e-9)
    np.testing.assert_allclose(one.physical(one.index(points)), points, atol=1e-9)
    np.testing.assert_allclose(apply_matrix(one.to(other), points), other.index(one.physical(points)), atol=1e-8)
    np.testing.assert_allclose(one.to(other) @ other.to(one), np.eye(len(shape) + 1), atol=1e-8)
    np.testing.assert_allclose(one.to(one), np.eye(len(shape) + 1), atol=1e-9)


def test_another_unit_scales_the_coordinates(turned: Make) -> None:
    grid = turned((5, 4, 7))
    found = grid.in_unit("micrometre", 1000)
    assert (found.shape, found.unit, found.known) == (grid.shape, "micrometre", True)
    points = indices(grid.shape)
    np.testing.assert_allclose(found.physical(points), grid.physical(points) * 1000)
    np.testing.assert_array_equal(grid.in_unit("pixel").matrix, grid.matrix)
    # x before y, as physical coordinates are
    sized = Grid.of_pixels((4, 6)).in_unit("micrometre", (0.25, 0.5))
    assert sized.same_space(Grid.of_pixels((4, 6), (0.5, 0.25)))


@pytest.mark.parametrize("shape", SHAPES)
def test_parallel_are_those_whose_axes_run_alike(turned: Make, shape: tuple[int, ...]) -> None:
    grid = turned(shape)
    padded = grid.padded([side + 3 for side in shape])
    for other in (grid, padded, grid.averaged(3), grid.resized(range(2, 2 + len(shape))), padded.finer(2).strided(3)):
        assert grid.parallel_to(other)
        assert other.parallel_to(grid)
    step = np.eye(len(shape) + 1)
    step[0, 0], step[0, -1] = -1, shape[0] - 1
    flipped = Grid(shape, grid.matrix @ step)
    swapped = Grid(shape, grid.matrix[:, [1, 0, *range(2, len(shape) + 1)]])
    sheared = np.eye(len(shape) + 1)
    sheared[0, 1] = 1e-3
    for other in (flipped, swapped, Grid(shape, grid.matrix @ sheared)):
        assert not grid.parallel_to(other)
        assert not other.parallel_to(grid)


@pytest.mark.parametrize("shape", [(32, 48), (16, 32, 48)])
def test_overlap_is_the_share_inside_the_other(turned: Make, shape: tuple[int, ...]) -> None:
    grid = turned(shape)
    flat, half = [0] * (len(shape) - 1), [side // 2 for side in shape]
    assert grid.overlap(grid) == 1
    assert grid.overlap(grid.averaged(4)) == 1
    assert grid.overlap(grid.cropped([shape[0] // 2, *flat], shape)) == 0.5
    assert grid.overlap(grid.cropped([0] * len(shape), half)) == 0.5 ** len(shape)
    assert grid.cropped([0] * len(shape), half).overlap(grid) == 1
    assert grid.overlap(grid.cropped([shape[0], *flat], shape)) == 0
    assert grid.overlap(grid.cropped([*flat, -shape[-1]], shape)) == 0
    assert grid.overlap(grid.cropped([shape[0] // 4, *flat], shape), samples=8) == 0.75


def test_one_space_is_shape_unit_and_places(turned: Make) -> None:
    grid = turned((33, 12))
    assert grid.same_space(Grid(grid.shape, grid.matrix, "millimetre", known=False))
    assert not grid.same_space(grid.cropped((0, 0), (33, 13)))
    assert not grid.same_space(grid.in_unit("micrometre"))
    assert not grid.same_space(grid.in_unit("micrometre", 1000))
    assert grid.same_space(grid.cropped((0.0009, -0.0009), (33, 12)))
    assert not grid.same_space(grid.cropped((0.0011, 0), (33, 12)))
    assert grid.same_space(grid.cropped((0.2, 0), (33, 12)), tolerance=0.25)
    # at the first pixel alone they agree
    turn = np.array([[1, -1e-4, 0], [1e-4, 1, 0], [0, 0, 1]])
    assert not grid.same_space(Grid(grid.shape, grid.matrix @ turn, "millimetre"))
    assert not grid.same_space(Grid(grid.shape, grid.matrix @ np.diag([1.0001, 1, 1]), "millimetre"))


# on disk and in memory


@pytest.mark.parametrize("shape", SHAPES)
def test_json_gives_the_same_grid_again(turned: Make, shape: tuple[int, ...]) -> None:
    grid = turned(shape)
    stored = json.loads(json.dumps(grid.as_json(), allow_nan=False))
    again = Grid.from_json(stored, grid.unit)
    assert (again.shape, again.unit, again.known) == (grid.shape, grid.unit, grid.known)
    np.testing.assert_array_equal(again.matrix, grid.matrix)
    del stored["known"]  # as results before it was kept
    old = Grid.from_json(stored)
    assert (old.unit, old.known) == ("pixel", False)
    assert Grid.from_json(Grid.of_pixels(shape).as_json()).same_space(Grid.of_pixels(shape))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind", ["tensor", "array", "MetaTensor"])
def test_an_image_on_a_grid_lies_on_it(turned: Make, shape: tuple[int, ...], kind: str) -> None:
    grid, file = turned(shape), turned((50,) * len(shape))
    values = np.random.default_rng(0).random((2, *shape), dtype=np.float32)
    elsewhere = MetaTensor(torch.from_numpy(values), affine=torch.eye(len(shape) + 1) * 3, meta={"filename": "a"})
    given = {"tensor": torch.from_numpy(values), "array": values, "MetaTensor": elsewhere}[kind]
    image = grid.on(given, {**elsewhere.meta, "file_grid": file})
    assert isinstance(image, MetaTensor)
    np.testing.assert_array_equal(image.as_tensor(), values)
    assert image.meta["filename"] == "a"
    assert "file_grid" not in elsewhere.meta
    found = Grid.of(image)
    assert (found.shape, found.unit, found.known) == (grid.shape, "millimetre", True)
    np.testing.assert_array_equal(found.matrix, grid.matrix)
    np.testing.assert_array_equal(Grid.of(found.on(image, image.meta)).matrix, grid.matrix)


def test_an_image_without_a_file_counts_in_pixels(turned: Make) -> None:
    found = Grid.of(turned((7, 10)).on(torch.zeros(1, 7, 10)))
    assert (found.unit, found.known) == ("pixel", False)
    np.testing.assert_array_equal(found.matrix, turned((7, 10)).matrix)


@pytest.mark.parametrize("shape", SHAPES)
def test_the_affine_of_medical_images_in_the_plane_is_cut_to_it(shape: tuple[int, ...]) -> None:
    """MONAI keeps 4 x 4 for images of fewer dimensions."""
    affine = torch.eye(4, dtype=torch.float64)
    affine[:2, :2], affine[:2, 3] = torch.tensor([[0.0, 2], [3, 0]]), torch.tensor([5.0, 6])
    found = Grid.of(MetaTensor(torch.zeros(1, *shape), affine=affine)).matrix
    np.testing.assert_array_equal(found[:2, :2], [[0, 2], [3, 0]])
    np.testing.assert_array_equal(found[:2, -1], [5, 6])
    assert len(found) == len(shape) + 1


def test_transforms_of_monai_keep_the_grid_true(turned: Make) -> None:
    grid = turned((7, 10))
    image = grid.on(torch.arange(70.0).reshape(1, 7, 10))
    flipped = Flip(spatial_axis=1)(image)
    assert flipped[0, 2, 3] == image[0, 2, 6]
    found = Grid.of(flipped).physical(np.array([[2.0, 3]]))
    np.testing.assert_allclose(found, grid.physical(np.array([[2.0, 6]])), atol=1e-9)


def test_an_image_of_another_size_does_not_lie_on_a_grid() -> None:
    with pytest.raises(InputError, match=r"\(7, 11\) does not lie on a grid of \(7, 10\)"):
        Grid.of_pixels((7, 10)).on(torch.zeros(1, 7, 11))
