"""Pairs with correspondences: directions, turns, filling, and an order that a seed and an epoch give."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from custom_components.common.errors import InputError
from custom_components.engines import KeypointPairs
from custom_components.engines.keypoint_pairs import transformed_by_symmetry
from custom_components.matching import PointPairs

SHAPE = (20, 30)


def pairs(count: int = 3) -> list[dict]:
    return [
        {
            "pair": SimpleNamespace(id=str(index)),
            **{
                f"{name}_{side}": torch.full((1, *SHAPE), index + shift + extra)
                for name, extra in (("working", 0.0), ("mask", 0.25))
                for side, shift in (("moving", 0.1), ("fixed", 0.2))
            },
        }
        for index in range(count)
    ]


def matches(count: int, number: int = 5) -> dict[str, PointPairs]:
    points = torch.arange(2.0 * number).view(number, 2)
    return {str(index): PointPairs(points + 100, points, torch.ones(number)) for index in range(count)}


def test_an_epoch_has_every_pair_in_both_directions():
    data = KeypointPairs(pairs(), augmented=False)
    seen = sorted(round(float(data[index]["image"][0, 0, 0]), 1) for index in range(len(data)))
    assert seen == [0.1, 0.2, 1.1, 1.2, 2.1, 2.2]


def test_the_points_go_with_their_images_in_both_directions():
    data = KeypointPairs(pairs(), [matches(3)], points=8, augmented=False)
    for index in range(len(data)):
        item = data[index]
        forward = float(item["image"][0, 0, 0]) < float(item["image"][1, 0, 0])
        difference = (item["points_moving"] - item["points_fixed"])[0, :5]
        assert torch.all(difference == (100 if forward else -100))
        assert item["valid"].tolist() == [[1.0] * 5 + [0.0] * 3]
        assert torch.allclose(item["mask"], item["image"] + 0.25)


def test_of_many_correspondences_a_random_part_is_taken_and_a_pair_may_have_none():
    data = KeypointPairs(pairs(2), [matches(1, 50), {}], points=10)
    for index in range(len(data)):
        item = data[index]
        has = float(item["image"][0, 0, 0]) < 1
        assert item["valid"].sum(dim=1).tolist() == [10.0 if has else 0.0, 0.0]
        assert item["points_fixed"].shape == (2, 10, 2)


def test_without_sources_there_are_no_points():
    item = KeypointPairs(pairs(1))[0]
    assert item["valid"].shape == (0, 0)
    assert item["points_moving"].shape == (0, 0, 2)


@pytest.mark.parametrize("way", range(8))
def test_a_turn_moves_points_with_what_they_show(way):
    image = torch.zeros(2, *SHAPE)
    image[0, 3, 7], image[1, 11, 2] = 1, 1
    item = {
        "image": image, "mask": image.clone(),
        "points_moving": torch.tensor([[[3.0, 7.0]]]), "points_fixed": torch.tensor([[[11.0, 2.0]]]),
    }  # fmt: skip
    result = transformed_by_symmetry(item, SHAPE, way)
    for channel, key in ((0, "points_moving"), (1, "points_fixed")):
        row, column = result[key][0, 0].int().tolist()
        assert result["image"][channel, row, column] == 1
    assert result["image"].shape[1:] == (SHAPE if way < 4 else SHAPE[::-1])


def test_the_eight_turns_differ():
    item = {"image": torch.rand(2, 9, 9), "mask": torch.rand(2, 9, 9),
            "points_moving": torch.zeros(0, 0, 2), "points_fixed": torch.zeros(0, 0, 2)}  # fmt: skip
    seen = {tuple(transformed_by_symmetry(item, (9, 9), way)["image"].flatten().tolist()) for way in range(8)}
    assert len(seen) == 8


def test_an_item_depends_on_seed_epoch_and_index_alone():
    def made(seed: int, epoch: int) -> list[torch.Tensor]:
        data = KeypointPairs(pairs(), [matches(3, 40)], points=4, seed=seed)
        data.set_epoch(epoch)
        return [data[index]["points_fixed"] for index in (3, 1)]

    first, again = made(1, 2), made(1, 2)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert any(not torch.equal(a, b) for a, b in zip(first, made(1, 3), strict=True))
    assert any(not torch.equal(a, b) for a, b in zip(first, made(2, 2), strict=True))


def test_without_pairs_the_message_says_what_to_give():
    with pytest.raises(InputError, match=r"give --pairs TABLE\.csv"):
        KeypointPairs([])
