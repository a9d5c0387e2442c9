"""Known pairs: the label is the truth, real pairs weigh nothing, and defects are in one image alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.transforms import Compose
from scipy.ndimage import gaussian_filter
from torch import Tensor

from custom_components.common.errors import InputError
from custom_components.fields import warp
from custom_components.transforms import (
    RandKnownPaird,
    RandomAppearance,
    RandomDefect,
    RandomField,
    RandomItems,
    labelled_augmentation,
)

SHAPE = (61, 84)


def image(shape: tuple[int, int] = SHAPE, seed: int = 0, channels: int = 1) -> Tensor:
    """(C, H, W) smooth, in 0..1, with black in it."""
    noise = np.random.default_rng(seed).normal(size=(channels, *shape))
    noise = gaussian_filter(noise, (0, 3, 3))
    return torch.from_numpy(((noise - noise.min()) / np.ptp(noise) - 0.3).clip(0)).float()


def item(data: Tensor, seed: int, **options) -> dict[str, Tensor]:
    transform = RandKnownPaird(**options)
    transform.set_random_state(seed)
    return transform({"image": data, "label": data})


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    shape=st.tuples(st.integers(16, 70), st.integers(16, 70)),
    amplitude=st.sampled_from([0.0, 4.0, 15.0]),
)
def test_the_label_brings_the_moving_image_onto_the_fixed_one(seed, shape, amplitude) -> None:
    data = image(shape)
    found = item(data, seed, field=RandomField(amplitude))
    assert found["image"].shape == (2, *shape)
    assert found["label"].shape == (5, *shape)
    assert found["label"].dtype == torch.float32
    assert torch.equal(found["label"][:2], found["image"])
    moving, fixed = found["image"][None, :1], found["image"][None, 1:]
    assert torch.equal(moving[0], data)
    ddf, weight = found["label"][None, 2:4], found["label"][4]
    # zeros around a single image and zeros around a patch are the same, so the truth holds even outside the weight
    assert torch.allclose(warp(moving, ddf), fixed, atol=1e-5)
    assert set(weight.unique().tolist()) <= {0.0, 1.0}
    assert (fixed[0, 0][weight > 0] > 0.05).all()


def test_the_weight_ends_where_the_displacement_leaves_the_image() -> None:
    class Shift(RandomField):
        def __call__(self, side: int) -> Tensor:
            return torch.tensor([3.0, -5.0]).view(1, 2, 1, 1).expand(1, 2, side, side)

    found = item(torch.ones(1, *SHAPE), 0, field=Shift())
    expected = torch.zeros(SHAPE)
    expected[:-3, 5:] = 1
    assert torch.equal(found["label"][4], expected)


def test_a_real_pair_is_not_bent_and_weighs_nothing() -> None:
    data = image(channels=2)
    found = item(data, 0, field=RandomField(20.0))
    assert torch.equal(found["image"], data)
    assert torch.equal(found["label"][:2], data)
    assert not found["label"][2:].any()
    assert "label" in found


@pytest.mark.parametrize("channels", [1, 2])
def test_a_defect_lies_in_one_image_and_leaves_the_truth(channels) -> None:
    data = image(channels=channels)
    sides = {0: 0, 1: 0, None: 0}
    for seed in range(60):
        clean = item(data, seed)
        spoiled = item(data, seed, defect=RandomDefect(("resection", "blob")), probability=0.5)
        assert torch.equal(clean["label"][2:], spoiled["label"][2:])
        changed = [side for side in (0, 1) if not torch.equal(clean["image"][side], spoiled["image"][side])]
        assert len(changed) <= 1
        sides[changed[0] if changed else None] += 1
    assert 18 <= sides[None] <= 42
    assert min(sides[0], sides[1]) >= 6


def test_probabilities_of_zero_and_one() -> None:
    data = image()
    for seed in range(8):
        clean = item(data, seed)["image"]
        options = {"defect": RandomDefect(("blob",), size=(0.3, 0.3))}
        assert torch.equal(item(data, seed, **options, probability=0.0)["image"], clean)
        assert not torch.equal(item(data, seed, **options, probability=1.0)["image"], clean)
    with pytest.raises(InputError, match=r"0\.\.1, got 2"):
        RandKnownPaird(probability=2)


def test_both_images_get_looks_of_their_own() -> None:
    data = image()
    found = item(data, 0, field=RandomField(0.0, linear=0), appearance=RandomAppearance())["image"]
    assert (found[0] - found[1]).abs().mean() > 0.01
    assert (found[0] - data[0]).abs().mean() > 0.01


def test_items_of_a_training_depend_on_seed_epoch_and_index_alone() -> None:
    records = [{"image": image(seed=1)}, {"image": image(seed=2, channels=2)}]
    known = RandKnownPaird(RandomField(), RandomDefect(), 0.8, RandomAppearance())
    transform = Compose([labelled_augmentation(patch_size=40), known])
    data, other = (RandomItems(records, transform, length=6, seed=seed) for seed in (0, 1))
    first = [data[index] for index in range(6)]
    for index in (4, 0, 5):
        again = data[index]
        assert all(torch.equal(again[key], first[index][key]) for key in ("image", "label"))
    assert all(found["image"].shape == (2, 40, 40) and found["label"].shape == (5, 40, 40) for found in first)
    assert type(first[0]["label"]) is Tensor
    assert sorted(bool(found["label"][4].any()) for found in first) == [False] * 3 + [True] * 3
    assert not torch.equal(other[0]["image"], first[0]["image"])


def test_empty_images_and_wrong_shapes() -> None:
    appearance = RandomAppearance(noise=0.0)
    found = item(torch.zeros(1, 33, 20), 0, defect=RandomDefect(), probability=1.0, appearance=appearance)
    assert not found["label"][4].any()
    assert bool(torch.isfinite(found["label"]).all())
    for wrong in (torch.zeros(3, 20, 20), torch.zeros(1, 20, 20, 20)):
        with pytest.raises(InputError, match=r"made of \(1, H, W\)"):
            item(wrong, 0)
