"""Overlap of label maps."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.metrics.meandice import compute_dice
from monai.networks.utils import one_hot

from custom_components.common.errors import InputError
from custom_components.metrics import dice_per_label


@pytest.mark.parametrize("shape", [(9, 12), (5, 6, 7)])
@given(seed=st.integers(0, 10_000))
@settings(max_examples=10, deadline=None, derandomize=True)
def test_agrees_with_monai(shape, seed: int) -> None:
    rng = np.random.default_rng(seed)
    first, second = (rng.integers(0, 4, shape) for _ in range(2))
    hot = [one_hot(torch.from_numpy(m)[None, None], 4) for m in (first, second)]
    wanted = compute_dice(*hot, include_background=False)[0].tolist()
    assert list(dice_per_label(first, second).values()) == pytest.approx(wanted, abs=1e-6)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.int64])
def test_closed_form_for_shifted_boxes(dtype) -> None:
    first, second = np.zeros((10, 20), dtype), np.zeros((10, 20), dtype)
    first[2:8, 2:12] = second[2:8, 5:15] = 200  # 7 of 10 columns in common
    first[0, :4] = 7
    found = dice_per_label(first, second)
    assert found == {7: 0.0, 200: pytest.approx(0.7)}
    assert list(found) == [7, 200]


def test_equal_maps_overlap_wholly_and_background_does_not_count() -> None:
    labels = np.array([[0, 1, 5], [5, 0, 0]])
    assert dice_per_label(labels, labels) == {1: 1.0, 5: 1.0}
    assert dice_per_label(np.zeros((4, 4), int), np.zeros((4, 4), int)) == {}
    assert dice_per_label(np.zeros((0, 4), int), np.zeros((0, 4), int)) == {}


def test_both_orders_give_the_same() -> None:
    first, second = (np.random.default_rng(s).integers(-1, 5, (8, 9)) for s in (1, 2))
    assert dice_per_label(first, second) == dice_per_label(second, first)
    assert min(dice_per_label(first, second)) == -1


def test_maps_of_different_shape_are_refused() -> None:
    with pytest.raises(InputError, match=r"\(4, 5\) and \(5, 4\)"):
        dice_per_label(np.zeros((4, 5), int), np.zeros((5, 4), int))
