from __future__ import annotations

import pytest
import torch

from custom_components.common.errors import InputError
from custom_components.matching import PointPairs


def numbered(count: int, dimensions: int = 2) -> PointPairs:
    points = torch.arange(count * dimensions, dtype=torch.float32).reshape(count, dimensions)
    return PointPairs(points, points + 100, torch.arange(count, dtype=torch.float32))


@pytest.mark.parametrize("dimensions", [2, 3])
def test_select_takes_masks_and_indices(dimensions: int) -> None:
    pairs = numbered(4, dimensions)
    by_mask = pairs.select(torch.tensor([True, False, False, True]))
    by_index = pairs.select(torch.tensor([0, 3]))
    for got in (by_mask, by_index):
        assert len(got) == 2
        assert torch.equal(got.moving, pairs.moving[[0, 3]])
        assert torch.equal(got.fixed, pairs.fixed[[0, 3]])
        assert got.score.tolist() == [0, 3]


def test_concatenate_keeps_the_order() -> None:
    joined = PointPairs.concatenate([numbered(2), PointPairs.empty(), numbered(3)])
    assert joined.score.tolist() == [0, 1, 0, 1, 2]
    assert torch.equal(joined.moving, torch.cat([numbered(2).moving, numbered(3).moving]))


def test_nothing_concatenated_is_nothing() -> None:
    assert len(PointPairs.concatenate([])) == 0
    assert PointPairs.empty(3).moving.shape == (0, 3)


@pytest.mark.parametrize(
    ("moving", "fixed", "score"),
    [((3, 2), (4, 2), (3,)), ((3, 2), (3, 2), (2,)), ((3, 2), (3, 3), (3,)), ((3,), (3,), (3,))],
)
def test_shapes_that_disagree_are_refused(
    moving: tuple[int, ...], fixed: tuple[int, ...], score: tuple[int, ...]
) -> None:
    with pytest.raises(InputError, match="point pairs need"):
        PointPairs(torch.zeros(moving), torch.zeros(fixed), torch.zeros(score))
