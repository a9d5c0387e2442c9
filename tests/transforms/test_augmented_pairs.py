from __future__ import annotations

import pytest
import torch

from custom_components.common.errors import InputError
from custom_components.transforms import AugmentedPairs, RandomPairAugmentation, RandPairAugmentd

STILL = RandPairAugmentd(
    RandomPairAugmentation(
        rotation=0, scale=(1, 1), translation=0, shear=0, gamma=(1, 1), offset=0, swap=0, flip=0, quarter_turn=0
    )
)


def pair(height: int = 24, width: int = 40) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(height)
    images = {f"working_{side}": torch.rand(1, height, width, generator=generator) for side in ("moving", "fixed")}
    return images | {f"mask_{side}": torch.ones(1, height, width) for side in ("moving", "fixed")}


def test_an_item_is_the_pair_in_a_square_moving_first() -> None:
    data = pair()
    item = AugmentedPairs([data], STILL, size=40)[0]
    assert item["image"].shape == (2, 40, 40)
    assert torch.equal(item["image"][0, 8:32], data["working_moving"][0])
    assert torch.equal(item["image"][1, 8:32], data["working_fixed"][0])
    assert item["image"][:, :8].abs().max() == 0
    assert item["label"] is item["image"]


def test_items_depend_on_seed_epoch_and_index_alone() -> None:
    pairs = [pair(), pair(32, 32)]
    first, second = AugmentedPairs(pairs, size=32, seed=3), AugmentedPairs(pairs, size=32, seed=3)
    first[0]  # what was drawn before does not matter
    assert torch.equal(first[1]["image"], second[1]["image"])
    second.set_epoch(1)
    assert not torch.equal(first[1]["image"], second[1]["image"])
    assert not torch.equal(first[1]["image"], AugmentedPairs(pairs, size=32, seed=4)[1]["image"])


def order_of(dataset: AugmentedPairs) -> list[float]:
    """First voxel of every item."""
    return [float(dataset[index]["image"][0, 0, 0]) for index in range(len(dataset))]


def test_every_epoch_has_its_own_order_which_a_resume_finds_again() -> None:
    pairs = [dict.fromkeys(pair(), torch.full((1, 8, 8), shade / 8)) for shade in range(8)]
    dataset, resumed = (AugmentedPairs(pairs, STILL, size=8, seed=3) for _ in range(2))
    orders = []
    for epoch in (1, 2):
        dataset.set_epoch(epoch)
        orders.append(order_of(dataset))
        assert sorted(orders[-1]) == [shade / 8 for shade in range(8)]
    assert orders[0] != orders[1]
    resumed.set_epoch(2)
    assert order_of(resumed) == orders[1]


def test_no_pairs_say_what_to_give() -> None:
    with pytest.raises(InputError, match="give --pairs"):
        AugmentedPairs([])
