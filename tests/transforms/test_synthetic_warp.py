"""Synthetic pairs: the label is the truth, and an item is a function of seed, epoch and index alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.data import DataLoader, MetaTensor
from scipy.ndimage import gaussian_filter
from torch import Tensor

from custom_components.common.errors import InputError
from custom_components.fields import folding_share, warp
from custom_components.transforms import RandomAppearance, RandomField, SyntheticPairs

SIDE = 48


class SameLook(RandomAppearance):
    """Both patches as they are."""

    def __call__(self, image: Tensor) -> Tensor:
        return image


def texture(shape: tuple[int, int], seed: int) -> MetaTensor:
    """(1, H, W) smooth, in 0..1."""
    noise = gaussian_filter(np.random.default_rng(seed).normal(size=shape), 3)
    return MetaTensor(torch.from_numpy((noise - noise.min()) / np.ptp(noise)).float()[None])


def pairs(shape: tuple[int, int] = (101, 87), count: int = 2) -> list[dict[str, MetaTensor]]:
    """Prepared pairs, tissue everywhere."""
    return [
        {
            "working_moving": texture(shape, 2 * index),
            "working_fixed": texture(shape, 2 * index + 1),
            "mask_moving": MetaTensor(torch.ones(1, *shape)),
            "mask_fixed": MetaTensor(torch.ones(1, *shape)),
        }
        for index in range(count)
    ]


def dataset(shape: tuple[int, int] = (101, 87), **options) -> SyntheticPairs:
    return SyntheticPairs(pairs(shape), **{"length": 8, "patch_size": SIDE, **options})


def equal(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    return all(torch.equal(first[key], second[key]) for key in ("image", "label"))


@pytest.mark.parametrize("index", range(4))
def test_the_label_brings_the_moving_patch_onto_the_fixed_one(index):
    item = dataset(scales=[1.0], appearance=SameLook())[index]
    moving, fixed = item["image"][None, :1], item["image"][None, 1:]
    label = item["label"][None, :2]
    inner = (..., slice(14, -14), slice(14, -14))  # no displacement of these reaches beyond the patch
    assert label[inner].abs().max() < 14
    before = (moving - fixed)[inner].abs().mean()
    after = (warp(moving, label) - fixed)[inner].abs()
    assert after.mean() < 0.004
    assert after.max() < 0.04  # what interpolating twice takes from a peak
    assert after.mean() < 0.2 * before or before < 0.01


@pytest.mark.parametrize("options", [{"amplitude": 5.0}, {"amplitude": 48.0, "grids": (3, 5, 8, 14), "decay": 1.0}])
def test_what_is_drawn_can_be_undone(options):
    field = RandomField(**options)
    side = 96 if options["amplitude"] < 10 else 352
    folded = []
    for seed in range(10):
        field.set_random_state(seed)
        drawn = field(side)
        assert drawn.shape == (1, 2, side, side)
        folded.append(folding_share(drawn))
    assert np.median(folded) == 0
    assert max(folded) < 0.01


def test_the_amplitude_bounds_the_size_of_fields():
    sizes = {}
    for amplitude in (0.0, 2.0, 8.0):
        field = RandomField(amplitude, linear=0)
        field.set_random_state(3)
        sizes[amplitude] = float(np.mean([field(64).norm(dim=1).mean() for _ in range(20)]))
    assert sizes[0.0] == 0
    assert sizes[8.0] == pytest.approx(4 * sizes[2.0], rel=1e-4)
    assert 0.1 < sizes[2.0] < 2


def test_an_item_depends_on_seed_epoch_and_index_alone():
    first, second = dataset(seed=5), dataset(seed=5)
    for data in (first, second):
        data.set_epoch(3)
    wanted = first[2]
    second[7]  # what was drawn before does not matter
    assert equal(second[2], wanted)
    assert not equal(first[1], wanted)
    second.set_epoch(4)
    assert not equal(second[2], wanted)
    other = dataset(seed=6)
    other.set_epoch(3)
    assert not equal(other[2], wanted)


@pytest.mark.parametrize("shape", [(101, 87), (61, 130), (31, 200), (17, 9)])
@pytest.mark.parametrize("side", [SIDE, 33])
def test_odd_images_and_images_smaller_than_the_patch_give_whole_patches(shape, side):
    data = dataset(shape, patch_size=side, scales=[0.25, 0.5, 1.0])
    for index in range(4):
        item = data[index]
        assert item["image"].shape == (2, side, side)
        assert item["label"].shape == (3, side, side)
        assert bool(torch.isfinite(item["label"]).all())
        assert (item["image"].min() >= 0) & (item["image"].max() <= 1)
        assert (item["label"][2].min() >= 0) & (item["label"][2].max() <= 1)


def test_the_weight_is_zero_beyond_the_image_and_off_the_tissue():
    half = pairs((200, 200), 1)
    for name in ("mask_moving", "mask_fixed"):
        half[0][name][..., :100] = 0
    data = SyntheticPairs(half, 20, 96, [1.0], appearance=SameLook(), field=RandomField(0.0, linear=0), min_tissue=0.1)
    shares = [float(data[index]["label"][2].mean()) for index in range(20)]
    assert 0 < min(shares) < max(shares) <= 1
    assert any(0.01 < fraction < 0.99 for fraction in shares)
    small = SyntheticPairs(pairs((40, 40), 1), 1, 96, [1.0], appearance=SameLook(), field=RandomField(0.0, linear=0))[0]
    assert float(small["label"][2].sum()) == pytest.approx(40 * 40, rel=0.01)
    assert torch.equal(small["image"][:, :20], torch.zeros(2, 20, 96))


def test_images_without_tissue_give_items_that_weigh_nothing():
    empty = pairs((100, 100), 1)
    for name in ("mask_moving", "mask_fixed"):
        empty[0][name].zero_()
    assert float(SyntheticPairs(empty, 2, SIDE, [1.0])[1]["label"][2].sum()) == 0


def test_looks_stay_in_range_and_leave_the_shape():
    appearance = RandomAppearance()
    image = texture((40, 53), 0).as_tensor()[None]
    for seed in range(20):
        appearance.set_random_state(seed)
        seen = appearance(image)
        assert seen.shape == image.shape
        assert bool(torch.isfinite(seen).all())
        assert (seen.min() >= 0) & (seen.max() <= 1)
        appearance.set_random_state(seed)
        assert torch.equal(appearance(image), seen)
    appearance = RandomAppearance(noise=0.0)
    appearance.set_random_state(0)
    assert not appearance(torch.zeros(1, 1, 20, 20)).any()  # black stays black


def test_the_two_patches_get_different_looks():
    item = dataset(scales=[1.0], field=RandomField(0.0, linear=0))[0]
    assert (item["image"][0] - item["image"][1]).abs().mean() > 0.01


@pytest.mark.parametrize("workers", [0, 2])
def test_a_loader_with_workers_gives_the_same_items_epoch_after_epoch(workers):
    data, expected = dataset(), dataset()
    loader = DataLoader(data, batch_size=4, num_workers=workers)
    for epoch in (1, 2):
        data.set_epoch(epoch)
        expected.set_epoch(epoch)
        batches = list(loader)
        for key in ("image", "label"):
            wanted = torch.stack([expected[index][key] for index in range(8)])
            assert torch.equal(torch.cat([batch[key] for batch in batches]), wanted)


def test_without_images_the_message_says_what_to_give():
    with pytest.raises(InputError, match=r"give --pairs TABLE\.csv"):
        SyntheticPairs([])


def test_the_looks_grow_apart_while_the_training_warms_up():
    still = {"scales": [1.0], "field": RandomField(0.0, linear=0)}
    data, full = dataset(warm_up=4, **still), dataset(**still)
    differences = {}
    for epoch in (1, 2, 4, 5):
        data.set_epoch(epoch)
        full.set_epoch(epoch)
        images = [data[index]["image"] for index in range(8)]
        differences[epoch] = float(np.mean([(image[0] - image[1]).abs().mean() for image in images]))
        assert all(torch.equal(images[i], full[i]["image"]) for i in range(8)) == (epoch >= 4)
    assert differences[1] < differences[2] < min(differences[4], differences[5])


def test_displacements_grow_while_the_training_warms_up():
    data, full = dataset(field_warm_up=4, field=RandomField(linear=0)), dataset(field=RandomField(linear=0))
    for epoch in (1, 2, 4, 5):
        data.set_epoch(epoch)
        full.set_epoch(epoch)
        for index in range(3):
            grown, whole = data[index]["label"][:2], full[index]["label"][:2]
            assert torch.allclose(grown, whole * min(epoch / 4, 1), atol=1e-5)
