"""Demons as a step of a chain: direction, units, both dimensions, folds, images without contrast."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor

from custom_components.common.errors import InputError
from custom_components.fields import invert, jacobian_determinant, warp
from custom_components.inferers import Estimate, PairImages
from custom_components.inferers.demons import DiffeomorphicDemons


def make_pair(moving: Tensor, fixed: Tensor) -> PairImages:
    return PairImages(moving, fixed, *[torch.ones_like(fixed)] * 2)


def texture(spatial: tuple[int, ...], sigma: float = 2.0) -> Tensor:
    image = gaussian_filter(np.random.default_rng(0).random(spatial), sigma)
    return torch.from_numpy((image - image.min()) / np.ptp(image)).float()[None, None]


def known(spatial: tuple[int, ...], largest: float) -> tuple[PairImages, Tensor]:
    """A texture, what a random smooth field makes of it, and the field."""
    noise = np.random.default_rng(1).normal(size=(len(spatial), *spatial))
    field = np.stack([gaussian_filter(part, max(spatial) / 8) for part in noise])
    truth = torch.from_numpy(field / np.abs(field).max() * largest).float()[None]
    fixed = texture(spatial)
    return make_pair(warp(fixed, invert(truth)[0], padding_mode="border"), fixed), truth


def inner(ddf: Tensor) -> Tensor:
    """(D, *inner) the field less a rim, where the moving image may have nothing to find."""
    return ddf[(0, slice(None), *(slice(side // 8, -(side // 8)) for side in ddf.shape[2:]))]


def error(found: Tensor, truth: Tensor) -> float:
    return float(inner(found - truth).norm(dim=0).mean())


@pytest.mark.parametrize(("spatial", "largest"), [((64, 80), 4.0), ((32, 40, 36), 3.0)])
def test_a_known_warp_is_recovered_without_folds(spatial, largest) -> None:
    images, truth = known(spatial, largest)
    found = DiffeomorphicDemons()(images, Estimate.identity(spatial))
    assert error(found.ddf, truth) < 0.5 * error(torch.zeros_like(truth), truth)
    assert jacobian_determinant(found.ddf).min() > 0
    assert found.stages[0].name == "demons"


@pytest.mark.parametrize(("spatial", "shift"), [((64, 80), (1.5, -2.0)), ((32, 40, 36), (1.0, -1.5, 0.5))])
def test_a_shift_is_found_in_voxels_of_the_array(spatial, shift) -> None:
    fixed = texture(spatial)
    back = -torch.tensor(shift).view(1, -1, *[1] * len(spatial)).expand(1, -1, *spatial)
    images = make_pair(warp(fixed, back.contiguous(), padding_mode="border"), fixed)
    found = DiffeomorphicDemons()(images, Estimate.identity(spatial))
    assert np.allclose(inner(found.ddf).flatten(1).mean(1).numpy(), shift, atol=0.25)


@pytest.mark.parametrize("spatial", [(40, 48), (32, 32, 32)])
@pytest.mark.parametrize("make", [texture, lambda spatial: torch.full((1, 1, *spatial), 0.5)], ids=["texture", "flat"])
def test_equal_images_stay_where_they_are(spatial, make) -> None:
    image = make(spatial)
    assert not DiffeomorphicDemons()(make_pair(image, image), Estimate.identity(spatial)).ddf.any()


def test_images_without_contrast_stay_where_they_are() -> None:
    images = make_pair(torch.full((1, 1, 48, 48), 0.2), torch.full((1, 1, 48, 48), 0.7))
    assert not DiffeomorphicDemons()(images, Estimate.identity((48, 48))).ddf.any()


def test_folds_are_repaired_on_request() -> None:
    images, _ = known((64, 64), 4.0)
    found = DiffeomorphicDemons(field_sigma=0.0, minimum_jacobian=0.3)(images, Estimate.identity((64, 64)))
    assert found.stages[0].details["folding"] == 0
    assert jacobian_determinant(found.ddf).min() > 0.25


@pytest.mark.parametrize("arguments", [{"iterations": ()}, {"iterations": (10, -1)}, {"field_sigma": -1.0}])
def test_wrong_numbers_are_refused(arguments) -> None:
    with pytest.raises(InputError, match=next(iter(arguments))):
        DiffeomorphicDemons(**arguments)
