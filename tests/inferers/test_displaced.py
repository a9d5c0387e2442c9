"""Images that show the same are told from those that don't, whatever field is laid on them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from custom_components.inferers import PairImages
from custom_components.inferers.displaced import LEAST_SUPPORT, compare
from custom_components.inferers.evidence import scored
from custom_components.inferers.general_error import general_error, without_counterpart
from custom_components.inferers.result import Registration
from custom_components.matching import PointPairs

SHAPES = {2: (96, 110), 3: (30, 34, 28)}


def texture(shape: tuple[int, ...], seed: int) -> torch.Tensor:
    values = gaussian_filter(np.random.default_rng(seed).random(shape), 1.5)
    return torch.from_numpy((values - values.min()) / np.ptp(values)).float()[None, None]


def pair(moving: torch.Tensor, fixed: torch.Tensor) -> PairImages:
    return PairImages(moving, fixed, torch.ones_like(moving), torch.ones_like(fixed))


def still(shape: tuple[int, ...]) -> torch.Tensor:
    return torch.zeros(1, len(shape), *shape)


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES.keys())
def test_the_same_texture_supports_its_alignment_and_another_one_does_not(shape) -> None:
    first, other = texture(shape, 0), texture(shape, 1)
    assert compare(pair(first, first), still(shape), maps=False).support > 0.95
    assert compare(pair(1 - first, first), still(shape), maps=False).support > 0.95  # whatever the contrast
    assert compare(pair(other, first), still(shape), maps=False).support < LEAST_SUPPORT


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES.keys())
def test_the_expected_error_grows_with_the_error(shape) -> None:
    image, stated = texture(shape, 0), []
    for shift in (0.0, 2.0):
        images, ddf = pair(image, image), still(shape)
        ddf[:, -1] = shift
        error = general_error(compare(images, ddf), images)
        assert error.shape == (1, 2, *shape)
        assert bool((error > 0).all())
        assert bool((error[:, 1] >= error[:, 0]).all())
        stated.append(float(error[0, 0].median()))
    assert stated[1] > 1.3 * stated[0]


@pytest.mark.parametrize("value", [0.0, 0.5])
def test_images_without_anything_support_nothing(value) -> None:
    flat = torch.full((1, 1, 64, 70), value)
    found = compare(pair(flat, flat), still((64, 70)))
    assert found.support <= 0
    assert all(np.isfinite(values).all() for values in found.maps.values())


def test_fixed_tissue_that_nothing_lies_on_has_an_unknown_error_but_not_the_slivers_along_outlines() -> None:
    shape = SHAPES[2]
    image = texture(shape, 0)
    moving_mask = torch.ones_like(image)
    moving_mask[..., :1, :] = 0  # a sliver
    moving_mask[..., 60:, :40] = 0
    images = PairImages(image, image, moving_mask, torch.ones_like(image))
    gap = without_counterpart(images, still(shape))[0, 0]
    assert gap[70:90, 5:30].all()
    assert not gap[:55].any()
    assert not gap[:, 50:].any()
    nothing = PointPairs.empty()
    given = Registration(still(shape), still(shape), nothing, nothing, ())
    result = scored(lambda _: given)(images)
    assert result.error is not None
    assert torch.equal(torch.isnan(result.error[0, 0]), gap)
    assert result.stages[-1].details["unmatched_share"] == pytest.approx(float(gap.float().mean()), abs=1e-3)


def test_of_unrelated_images_no_error_is_stated() -> None:
    first, other = texture((96, 110), 0), texture((96, 110), 1)
    nothing = PointPairs.empty(2)

    def register(images: PairImages) -> Registration:
        return Registration(still(images.shape), still(images.shape), nothing, nothing, ())

    related, unrelated = (scored(register)(pair(image, first)).error for image in (first, other))
    assert related is not None
    assert bool(torch.isfinite(related).all())
    assert unrelated is not None
    assert bool(torch.isnan(unrelated).all())
