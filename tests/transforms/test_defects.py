"""Defects: nothing changes beside them, they are where the mask says, and a seed draws them again."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter
from torch import Tensor

from custom_components.common.errors import InputError
from custom_components.transforms import RandomDefect
from custom_components.transforms.defects import KINDS

SHAPE = (97, 120)


def tissue(shape: tuple[int, int] = SHAPE, seed: int = 0) -> Tensor:
    """(1, 1, H, W), a textured disc on black."""
    noise = gaussian_filter(np.random.default_rng(seed).normal(size=shape), 2)
    rows, columns = np.indices(shape)
    disc = np.hypot(rows - shape[0] / 2, columns - shape[1] / 2) < 0.4 * min(shape)
    return torch.from_numpy((0.3 + 0.4 * (noise - noise.min()) / np.ptp(noise)) * disc).float()[None, None]


def drawn(image: Tensor, seed: int, *kinds: str, **options) -> tuple[Tensor, Tensor, str]:
    defect = RandomDefect(kinds or KINDS, **options)
    defect.set_random_state(seed)
    return defect(image)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    kind=st.sampled_from(KINDS),
    shape=st.tuples(st.integers(9, 70), st.integers(9, 70)),
    background=st.sampled_from([0.0, 0.2]),
)
def test_the_image_changes_inside_the_mask_alone(seed, kind, shape, background) -> None:
    image = tissue(shape)
    before = image.clone()
    spoiled, mask, found = drawn(image, seed, kind, background=background)
    assert found == kind
    assert spoiled.shape == mask.shape == image.shape
    assert spoiled.dtype == mask.dtype == torch.float32
    assert set(mask.unique().tolist()) <= {0.0, 1.0}
    assert torch.equal(image, before)
    assert torch.equal(spoiled[mask == 0], image[mask == 0])
    assert bool(torch.isfinite(spoiled).all())
    assert (spoiled.min() >= 0) & (spoiled.max() <= 1)


@pytest.mark.parametrize("kind", KINDS)
def test_a_defect_covers_content_and_has_about_the_size_asked_for(kind) -> None:
    image = tissue()
    for seed in range(20):
        spoiled, mask, _ = drawn(image, seed, kind, size=(0.2, 0.2))
        assert mask[image > 0.05].sum() > 5
        assert (spoiled != image).any()
        width = 0.2 * min(SHAPE)
        assert mask.sum() < 4 * width**2
    big = [float(drawn(image, seed, kind, size=(0.4, 0.4))[1].sum()) for seed in range(20)]
    small = [float(drawn(image, seed, kind, size=(0.1, 0.1))[1].sum()) for seed in range(20)]
    assert np.mean(big) > 3 * np.mean(small)


@pytest.mark.parametrize("kind", ["resection", "tear"])
@pytest.mark.parametrize("background", [0.0, 0.1])
def test_what_is_missing_is_background(kind, background) -> None:
    image = tissue().clamp(min=background)
    for seed in range(5):
        spoiled, mask, _ = drawn(image, seed, kind, background=background)
        assert torch.allclose(spoiled[mask > 0], torch.tensor(background))


def test_most_resections_reach_in_from_the_rim() -> None:
    image = tissue()
    rows, columns = np.indices(SHAPE)
    outer = torch.from_numpy(np.hypot(rows - SHAPE[0] / 2, columns - SHAPE[1] / 2) > 0.38 * min(SHAPE))
    reached = [bool(((drawn(image, seed, "resection")[1][0, 0] > 0) & outer).any()) for seed in range(40)]
    assert np.mean(reached) > 0.6


def test_two_layers_of_a_fold_are_brighter_than_one() -> None:
    """On tissue of one grey, two layers let through the square of what one does."""
    image = torch.full((1, 1, *SHAPE), 0.4)
    for seed in range(5):
        spoiled, mask, _ = drawn(image, seed, "fold")
        assert mask.any()
        assert torch.allclose(spoiled[mask > 0], torch.tensor(1 - 0.6**2), atol=1e-5)


def test_a_fold_lays_the_tissue_beside_it_over_the_other_side() -> None:
    """Bright on one side of a step and nearly black on the other: what is laid over is bright."""
    image = torch.full((1, 1, *SHAPE), 0.06)
    image[..., :60] = 0.5
    gained = []
    for seed in range(20):
        spoiled, mask, _ = drawn(image, seed, "fold")
        assert (spoiled >= image - 1e-6).all()
        gained.append(float((spoiled - image)[mask > 0].mean()))
    assert np.mean(gained) > 0.2


def test_blobs_hide_what_lies_under_them() -> None:
    shares, levels = [], []
    for seed in range(30):
        image = tissue(seed=0)
        first, mask, _ = drawn(image, seed, "blob")
        second, again, _ = drawn(image * 0.999, seed, "blob")
        assert torch.equal(mask, again)
        hidden = ((first - second).abs() < 1e-6) & (image > 0.05) & (mask > 0)
        shares.append(float(hidden.sum() / ((image > 0.05) & (mask > 0)).sum()))
        levels.append(float(first[hidden].mean()))
    assert np.mean(shares) > 0.3
    assert min(levels) < 0.3
    assert max(levels) > 0.7


def test_a_seed_draws_the_same_defect_again_and_another_one_does_not() -> None:
    image = tissue()
    for seed in range(4):
        first, again, other = (drawn(image, number) for number in (seed, seed, seed + 1))
        assert first[2] == again[2]
        assert torch.equal(first[0], again[0])
        assert torch.equal(first[1], again[1])
        assert not torch.equal(first[1], other[1])
    assert {drawn(image, seed)[2] for seed in range(40)} == set(KINDS)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("level", [0.0, 0.03, 0.5, 1.0])
@pytest.mark.parametrize("shape", [(32, 32), (5, 41), (33, 2)])
def test_images_without_structure_and_tiny_ones_are_no_trouble(kind, level, shape) -> None:
    image = torch.full((1, 1, *shape), level)
    for seed in range(3):
        spoiled, mask, _ = drawn(image, seed, kind)
        assert bool(torch.isfinite(spoiled).all())
        assert torch.equal(spoiled[mask == 0], image[mask == 0])


def test_wrong_arguments_are_refused() -> None:
    with pytest.raises(InputError, match="resection, tear, fold, blob; got 'hole'"):
        RandomDefect(("tear", "hole"))
    with pytest.raises(InputError, match="got none"):
        RandomDefect(())
    with pytest.raises(InputError, match=r"got \(0\.3, 0\.1\)"):
        RandomDefect(size=(0.3, 0.1))
    with pytest.raises(InputError, match="below 1, got 1"):
        RandomDefect(background=1)
