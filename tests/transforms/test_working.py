from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from custom_components.common.errors import InputError
from custom_components.fields import Grid
from custom_components.transforms.working import common_shape, pad_to, shrink, working_scale


def test_both_images_of_a_pair_shrink_alike() -> None:
    assert working_scale([(2000, 1000), (1500, 1800)], [None, None], 1000, None) == [0.5, 0.5]


def test_small_images_are_not_enlarged() -> None:
    assert working_scale([(200, 100)] * 2, [None, None], 1000, None) == [1.0, 1.0]


def test_micrometres_ask_each_file() -> None:
    scales = working_scale([(100, 100)] * 2, [(0.5, 0.5), (2.0, 2.0)], None, 2.0)
    assert scales == [0.25, 1.0]


@pytest.mark.parametrize(("size", "micrometres"), [(None, None), (512, 2.0)])
def test_exactly_one_resolution_is_needed(size, micrometres) -> None:
    with pytest.raises(InputError, match="either working_size"):
        working_scale([(100, 100)] * 2, [None, None], size, micrometres)


def test_micrometres_need_a_pixel_size() -> None:
    with pytest.raises(InputError, match="state their pixel size"):
        working_scale([(100, 100)] * 2, [(0.5, 0.5), None], None, 2.0)


@given(rows=st.integers(33, 300), columns=st.integers(33, 300), scale=st.floats(0.1, 1.0))
@settings(max_examples=40, deadline=None, derandomize=True)
def test_shrinking_keeps_the_field_of_view(rows: int, columns: int, scale: float) -> None:
    grid = Grid.of_pixels((rows, columns), (0.25, 0.5))
    small, less = shrink(torch.zeros(1, rows, columns), scale), grid.shrunk(scale)
    assert tuple(small.shape[1:]) == less.shape
    corners = less.physical(np.array([[-0.5, -0.5], np.array(small.shape[1:]) - 0.5]))
    wanted = grid.physical(np.array([[-0.5, -0.5], [rows - 0.5, columns - 0.5]]))
    np.testing.assert_allclose(corners, wanted, atol=1e-9)


def test_shrinking_averages_and_moves_nothing() -> None:
    ramp = torch.arange(64.0).repeat(64, 1)[None]
    small, whole = shrink(ramp, 0.25), Grid((64, 64), np.eye(3))
    columns = whole.shrunk(0.25).physical(np.stack([np.zeros(16), np.arange(16)], axis=1))[:, 1]
    np.testing.assert_allclose(small[0, 3], columns)


@pytest.mark.parametrize("shape", [(20, 30), (21, 33)])
def test_padding_remembers_the_offset(shape) -> None:
    image = torch.rand(2, 17, 25)
    padded, grid = pad_to(image, shape), Grid((17, 25), np.eye(3)).padded(shape)
    assert padded.shape == (2, *shape)
    assert padded.sum() == pytest.approx(float(image.sum()), rel=1e-5)
    rows, columns = np.argwhere(padded[0].numpy() == image[0, 4, 7].item())[0]
    np.testing.assert_allclose(grid.physical(np.array([[rows, columns]])), [[4, 7]])


def test_an_image_that_does_not_fit_is_refused() -> None:
    with pytest.raises(InputError, match="does not fit"):
        pad_to(torch.zeros(1, 30, 30), (20, 40))


@given(sizes=st.lists(st.tuples(st.integers(1, 200), st.integers(1, 200)), min_size=1, max_size=3))
@settings(max_examples=30, deadline=None, derandomize=True)
def test_common_shape_holds_all_and_divides(sizes) -> None:
    shape = common_shape(sizes, margin=16, multiple=32)
    for axis in (0, 1):
        needed = max(size[axis] for size in sizes) + 32
        assert shape[axis] % 32 == 0
        assert needed <= shape[axis] < needed + 32
