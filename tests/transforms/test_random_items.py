"""Records in an order and with transforms that a seed and an epoch repeat; augmentation of label maps."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.transforms import Compose, RandScaleIntensityd
from torch import Tensor

from custom_components.common.errors import InputError
from custom_components.transforms import RandomItems, labelled_augmentation

SPATIAL = [(40, 48), (24, 26, 28)]


def records(count: int = 5) -> list[dict[str, Tensor]]:
    return [{"image": torch.full((1, 4, 4), index + 1.0)} for index in range(count)]


def items(**options) -> RandomItems:
    return RandomItems(records(), Compose([RandScaleIntensityd("image", 0.1, prob=1.0)]), **options)


def values(data: RandomItems) -> list[float]:
    return [float(data[index]["image"].mean()) for index in range(len(data))]


def test_an_epoch_has_every_record_once_in_its_own_order() -> None:
    data = items()
    seen = [values(data)]
    data.set_epoch(1)
    seen.append(values(data))
    orders = [np.round(epoch).astype(int).tolist() for epoch in seen]
    assert sorted(orders[0]) == sorted(orders[1]) == [1, 2, 3, 4, 5]
    assert orders[0] != orders[1]


def test_an_item_depends_on_seed_epoch_and_index_alone() -> None:
    first, second = items(seed=3), items(seed=3)
    for data in (first, second):
        data.set_epoch(2)
    wanted = values(first)
    assert [float(second[index]["image"].mean()) for index in (4, 0)] == [wanted[4], wanted[0]]
    assert values(items(seed=4)) != wanted
    with pytest.raises(IndexError):
        first[5]


@pytest.mark.parametrize(("length", "most"), [(3, 1), (12, 3)])
def test_the_length_of_an_epoch(length, most) -> None:
    found = np.round(values(items(length=length))).astype(int)
    assert len(found) == length
    assert np.bincount(found).max() == most


def test_nothing_to_train_on_is_refused() -> None:
    with pytest.raises(InputError, match=r"give --pairs TABLE\.csv"):
        RandomItems([], Compose([]))


def record(spatial: tuple[int, ...], channels: int = 2) -> dict[str, Tensor]:
    """A block in the middle, which is also its label."""
    labels = torch.zeros(channels, *spatial)
    labels[(slice(None), *(slice(side // 4, side // 2) for side in spatial))] = 1
    return {"image": 0.7 * labels, "labels": labels}


@pytest.mark.parametrize("spatial", SPATIAL)
def test_labels_go_with_the_image_and_all_channels_alike(spatial) -> None:
    transform = labelled_augmentation(len(spatial), "both")
    seen = set()
    for seed in range(4):
        transform.set_random_state(seed)
        item = transform(record(spatial))
        assert set(item) == {"image", "label"}
        image, label = item["image"], item["label"]
        assert image.shape == (2, *spatial)
        assert label.shape == (4, *spatial)
        assert type(image) is Tensor
        assert torch.equal(label[:2], image)
        assert torch.equal(image[0], image[1])
        assert set(label[2:].unique().tolist()) <= {0.0, 1.0}
        # linear and nearest interpolation differ at the rim of the block alone
        assert ((image[0] / 0.7 - label[2]).abs() > 0.51).float().mean() < 0.02
        seen.add(round(float(image.sum()), 3))
    assert len(seen) > 1


@pytest.mark.parametrize(("target", "channels"), [("image", 1), ("labels", 1), ("both", 2)])
def test_targets(target, channels) -> None:
    data = record((40, 48), 1)
    data["image"] += torch.rand_like(data["image"])
    item = labelled_augmentation(2, target, patch_size=16)(data)
    assert item["image"].shape == (1, 16, 16)
    assert item["label"].shape == (channels, 16, 16)
    assert torch.equal(item["label"][:1], item["image"]) == (target != "labels")


def test_label_maps_are_not_needed_and_nothing_random_remains_without_ranges() -> None:
    plain = {"image": torch.rand(2, 20, 21)}
    item = labelled_augmentation(2, "both", rotation=0, scale=0, shear=0, flip=False)(plain)
    assert torch.allclose(item["label"], plain["image"], atol=1e-4)
    with pytest.raises(InputError, match="target is image, labels, both, got 'x'"):
        labelled_augmentation(2, "x")
