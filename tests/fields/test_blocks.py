from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from custom_components.common.errors import InputError
from custom_components.fields import (
    apply_matrix,
    displacement_image,
    grid_change,
    index_to_physical,
    smooth,
    transform_points,
)
from custom_components.fields.blocks import FieldBlocks

FIELD, TARGET, SOURCE = (23, 31), (310, 270), (260, 333)


def field(spacing: tuple[float, float] = (1.0, 1.0), seed: int = 0) -> tuple[Any, Any, Any]:
    """A bent displacement image with the index_to_physical of a target and of a source image."""
    to_target, to_source = index_to_physical(spacing), index_to_physical((spacing[0] * 1.5, spacing[1] * 1.5))
    noise = torch.from_numpy(np.random.default_rng(seed).standard_normal((1, 2, *FIELD))).float()
    grids = to_target @ grid_change(FIELD, TARGET), to_source @ grid_change(FIELD, SOURCE)
    return displacement_image(smooth(noise, 2.0) * 10, *grids), to_target, to_source


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 309), st.integers(0, 269), st.integers(1, 200), st.integers(1, 200), st.sampled_from([1.0, 0.25]))
def test_pixels_come_from_where_points_go(row: int, column: int, height: int, width: int, spacing: float) -> None:
    image, to_target, to_source = field((spacing, 2 * spacing))
    found = FieldBlocks(image, to_target, to_source)(row, column, height, width)
    index = np.stack(np.meshgrid(row + np.arange(height), column + np.arange(width), indexing="ij"), -1).reshape(-1, 2)
    moved = transform_points(image, apply_matrix(to_target, index))
    expected = apply_matrix(np.linalg.inv(to_source), moved).reshape(height, width, 2)
    np.testing.assert_allclose(found.rows + found.origin[0], expected[..., 0], atol=2e-3)
    np.testing.assert_allclose(found.columns + found.origin[1], expected[..., 1], atol=2e-3)


def test_all_source_pixels_lie_in_the_window() -> None:
    blocks = FieldBlocks(*field())
    found = blocks(40, 50, 128, 128)
    for places, size in ((found.rows, found.size[0]), (found.columns, found.size[1])):
        assert places.min() >= 0
        assert np.ceil(places.max()) < size


def test_far_places_keep_their_precision() -> None:
    matrix = index_to_physical((1.0, 1.0))
    still = displacement_image(torch.zeros(1, 2, 2, 2), *[matrix @ grid_change((2, 2), (200_000, 200_000))] * 2)
    found = FieldBlocks(still, matrix, matrix)(190_000, 150_001, 16, 16)
    np.testing.assert_array_equal(found.rows + found.origin[0], np.arange(190_000, 190_016)[:, None] * np.ones((1, 16)))
    np.testing.assert_array_equal(found.columns[0], np.arange(16))


def test_a_turned_grid_is_refused() -> None:
    image, to_target, to_source = field()
    turned = to_source @ np.array([[0.8, -0.6, 0], [0.6, 0.8, 0], [0, 0, 1]])
    with pytest.raises(InputError, match="turned"):
        FieldBlocks(image, to_target, turned)


def test_the_digest_tells_fields_apart() -> None:
    first, same, other = (FieldBlocks(*field(seed=seed)).digest() for seed in (0, 0, 1))
    assert first == same != other
