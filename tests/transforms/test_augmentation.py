from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import Compose
from torch import Tensor

from custom_components.common.errors import InputError
from custom_components.fields import Grid, affine_to_ddf, warp
from custom_components.transforms.augmentation import (
    KEYS,
    PairDraw,
    RandomPairAugmentation,
    RandPairAugmentd,
    apply_draw,
    recolour,
)

NOTHING = {
    "rotation": 0.0, "scale": (1.0, 1.0), "translation": 0.0, "shear": 0.0, "gamma": (1.0, 1.0), "offset": 0.0,
    "swap": 0.0, "flip": 0.0, "quarter_turn": 0.0,
}  # fmt: skip


def batch(shape: tuple[int, int] = (48, 48), count: int = 3) -> list[Tensor]:
    """Moving and fixed images and their masks: blocks of grey on black."""
    images = torch.zeros(2, count, 1, *shape)
    images[0, :, :, 12:30, 10:34] = 0.3 + 0.5 * torch.rand(count, 1, 18, 24)
    images[1, :, :, 14:32, 12:36] = 0.3 + 0.5 * torch.rand(count, 1, 18, 24)
    return [*images, *(images > 0).float()]


def augmentation(seed: int = 0, **settings: object) -> RandomPairAugmentation:
    return RandomPairAugmentation(**settings).set_random_state(seed)


def test_nothing_drawn_is_nothing_done() -> None:
    tensors = batch((40, 56))
    for before, after in zip(tensors, augmentation(**NOTHING)(*tensors), strict=True):
        assert torch.equal(before, after)


def test_the_seed_decides_all() -> None:
    tensors = batch()
    first, again, other = (augmentation(seed)(*tensors) for seed in (1, 1, 2))
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first[0], other[0])
    assert not torch.equal(first[0][0] > 0, first[0][1] > 0)  # pairs of a batch differ


@pytest.mark.parametrize("shape", [(48, 48), (40, 56)])
def test_masks_follow_images_and_background_stays_black(shape: tuple[int, int]) -> None:
    tensors = batch(shape, count=8)
    moving, fixed, moving_mask, fixed_mask = augmentation()(*tensors)
    for image, mask in ((moving, moving_mask), (fixed, fixed_mask)):
        assert image.shape == (8, 1, *shape)
        assert set(mask.unique().tolist()) == {0.0, 1.0}
        assert image[mask > 0].mean() > 0.3
        rim = torch.nn.functional.max_pool2d(mask, 3, 1, 1) > 0
        assert image[~rim].max() == 0
        assert image.min() >= 0
        assert image.max() <= 1


def test_one_image_moves_against_the_other() -> None:
    moving, fixed, *masks = batch(count=6)
    found = augmentation(**NOTHING | {"rotation": 3.0, "translation": 0.02})(moving, fixed, *masks)
    same = [[torch.equal(a, b) for a, b in zip(*pair, strict=True)] for pair in ((moving, found[0]), (fixed, found[1]))]
    assert all(first != second for first, second in zip(*same, strict=True))
    assert len(set(same[0])) == 2  # either may be chosen


@pytest.mark.parametrize("flips", [(), (0,), (1,), (0, 1)])
@pytest.mark.parametrize("turns", [0, 1, 2, 3])
def test_what_is_done_to_both_keeps_the_true_displacement(flips: tuple[int, ...], turns: int) -> None:
    size = 40
    fixed = torch.rand(1, 1, size, size)
    ddf = torch.zeros(1, 2, size, size)
    ddf[:, 0], ddf[:, 1] = 3, -5
    moving = torch.roll(fixed, (3, -5), (2, 3))
    ones = torch.ones_like(fixed)
    draw = PairDraw(False, np.eye(3), False, flips, turns, (1.0, 1.0), (0.0, 0.0))
    new_moving, new_fixed, _, _ = apply_draw(draw, moving, fixed, ones, ones)
    linear = draw.matrices((size, size))[0][:2, :2]
    new_ddf = torch.einsum("ij,bjhw->bihw", torch.from_numpy(np.linalg.inv(linear)).float(), ddf)
    inside = np.s_[..., 8:-8, 8:-8]
    torch.testing.assert_close(warp(new_moving, new_ddf)[inside], new_fixed[inside], atol=1e-4, rtol=0)


@pytest.mark.parametrize(("shape", "turns"), [((40, 40), 1), ((40, 40), 3), ((36, 50), 2)])
@pytest.mark.parametrize("moves_fixed", [False, True])
def test_the_matrices_say_where_each_image_came_from(shape: tuple[int, int], turns: int, moves_fixed: bool) -> None:
    rows, columns = torch.meshgrid(*(torch.linspace(0, 1, side) for side in shape), indexing="ij")
    smooth = (rows + columns**2)[None, None] / 2
    motion = augmentation(3).draw(shape).motion
    draw = PairDraw(False, motion, moves_fixed, (0,), turns, (1.0, 1.0), (0.0, 0.0))
    found = apply_draw(draw, smooth, smooth, smooth, smooth)
    inside = np.s_[..., 6:-6, 6:-6]
    for image, matrix in zip(found, draw.matrices(shape), strict=False):
        expected = warp(smooth, affine_to_ddf(matrix, shape))
        torch.testing.assert_close(image[inside], expected[inside], atol=1e-3, rtol=0)


def test_a_swap_takes_the_masks_along() -> None:
    tensors = batch()
    moving, fixed, moving_mask, fixed_mask = augmentation(**NOTHING | {"swap": 1.0})(*tensors)
    for found, expected in zip((fixed, moving, fixed_mask, moving_mask), tensors, strict=True):
        assert torch.equal(found, expected)


def test_draws_stay_in_their_ranges() -> None:
    drawn = augmentation(rotation=0.0, shear=0.0)
    for _ in range(50):
        draw = drawn.draw((100, 200))
        assert 0.97 <= 1 / draw.motion[0, 0] <= 1.03
        centre = np.array([49.5, 99.5])
        assert (np.abs(draw.motion[:2, :2] @ centre + draw.motion[:2, 2] - centre) <= [1, 2]).all()
        assert all(0.8 <= gamma <= 1.25 for gamma in draw.gamma)
        assert draw.quarter_turns in (0, 2)


def test_recolour_is_the_formula_on_tissue() -> None:
    image, mask = torch.tensor([[[[0.25, 0.0, 0.98]]]]), torch.tensor([[[[1.0, 0.0, 1.0]]]])
    torch.testing.assert_close(recolour(image, mask, 0.5, 0.05), torch.tensor([[[[0.55, 0.0, 1.0]]]]))


@pytest.mark.parametrize("wrong", [{"scale": (1.1, 0.9)}, {"gamma": (0.0, 1.0)}, {"rotation": -1.0}, {"swap": 1.5}])
def test_senseless_ranges_are_named(wrong: dict[str, object]) -> None:
    with pytest.raises(InputError, match=next(iter(wrong))):
        RandomPairAugmentation(**wrong)


def prepared() -> dict[str, object]:
    """A prepared pair as the dictionary transforms leave it."""
    data: dict[str, object] = {"id": "a"}
    for number, (key, tensor) in enumerate(zip(KEYS, batch(), strict=True)):
        data[key] = Grid((48, 48), np.diag([2.0, 2.0, 1.0])).on(tensor[0], {"side": number % 2})
    return data


def test_the_dictionary_transform_keeps_types_and_other_keys() -> None:
    data = prepared()
    before = {key: data[key].clone() for key in KEYS}
    result = Compose([RandPairAugmentd()]).set_random_state(seed=4)(data)
    assert result["id"] == "a"
    for key in KEYS:
        assert isinstance(result[key], MetaTensor)
        assert result[key].shape == (1, 48, 48)
        assert torch.equal(data[key], before[key])
    again = Compose([RandPairAugmentd()]).set_random_state(seed=4)(data)
    assert all(torch.equal(result[key], again[key]) for key in KEYS)


def test_the_way_to_physical_coordinates_follows_the_images() -> None:
    data = prepared()
    chance = RandPairAugmentd().set_random_state(7)
    draw = RandPairAugmentd().set_random_state(7).augmentation.draw((48, 48))
    result = chance(data)
    moving, fixed = draw.matrices((48, 48))
    for key, matrix in zip(KEYS, (moving, fixed, moving, fixed), strict=True):
        np.testing.assert_allclose(Grid.of(result[key]).matrix, np.diag([2.0, 2.0, 1.0]) @ matrix)
    assert [result[key].meta["side"] for key in KEYS] == ([1, 0, 1, 0] if draw.swap else [0, 1, 0, 1])


def test_a_missing_mask_is_named() -> None:
    data = prepared()
    del data["mask_fixed"]
    with pytest.raises(InputError, match="mask_fixed"):
        RandPairAugmentd()(data)


def test_shapes_that_differ_are_named() -> None:
    tensors = batch()
    with pytest.raises(InputError, match="one shape"):
        augmentation()(tensors[0], tensors[1][..., :-1], *tensors[2:])
