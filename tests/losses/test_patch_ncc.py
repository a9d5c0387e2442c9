from __future__ import annotations

import numpy as np
import pytest
import torch

from custom_components.losses import PatchNCCLoss
from custom_components.losses.patch_ncc import correlation

SPATIAL = [(12, 15), (6, 7, 8)]


@pytest.mark.parametrize("spatial", SPATIAL)
def test_each_image_has_its_own_coefficient_but_those_without_contrast(spatial, images) -> None:
    first, second = images(spatial, 1, batch=3).clone(), images(spatial, 2, batch=3)
    first[1] = 0.7
    wanted = [np.corrcoef(first[i].ravel(), second[i].ravel())[0, 1] for i in (0, 2)]
    found, textured = correlation(first, second)
    np.testing.assert_allclose(found[::2], wanted)
    assert found[1] == 0
    assert textured.tolist() == [True, False, True]


@pytest.mark.parametrize("spatial", SPATIAL)
def test_is_minus_numpys_correlation_averaged_over_patches(spatial, images) -> None:
    warped, fixed = images(spatial, 1, batch=3), images(spatial, 2, batch=3)
    wanted = [-np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in zip(warped.numpy(), fixed.numpy(), strict=True)]
    assert float(PatchNCCLoss()(warped, fixed)) == pytest.approx(np.mean(wanted))


def test_weights_are_those_of_numpys_weighted_covariance(images) -> None:
    warped, fixed, mask = (images((12, 15), seed) for seed in (1, 2, 3))
    c = np.cov(warped.numpy().ravel(), fixed.numpy().ravel(), aweights=mask.numpy().ravel())
    assert float(PatchNCCLoss()(warped, fixed, mask)) == pytest.approx(-c[0, 1] / np.sqrt(c[0, 0] * c[1, 1]))


@pytest.mark.parametrize("spatial", SPATIAL)
def test_brightness_and_contrast_do_not_matter_but_inversion_does(spatial, images) -> None:
    image = images(spatial)
    assert float(PatchNCCLoss()(0.2 * image + 0.5, image)) == pytest.approx(-1)
    assert float(PatchNCCLoss()(1 - image, image)) == pytest.approx(1)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("value", [0.0, 0.3, 200.0])
def test_flat_patches_are_left_out_of_the_mean(value, dtype, images) -> None:
    warped, fixed = images((12, 15), 1, 3, dtype).clone(), images((12, 15), 2, 3, dtype).clone()
    wanted = PatchNCCLoss()(warped[2:], fixed[2:])
    warped[0], fixed[1] = value, value
    torch.testing.assert_close(PatchNCCLoss()(warped, fixed), wanted)
    assert PatchNCCLoss()(warped[:2], fixed[:2]) == 0


def test_a_patch_outside_the_mask_is_left_out_of_the_mean(images) -> None:
    warped, fixed = images((12, 15), 1, 2), images((12, 15), 2, 2)
    mask = torch.ones_like(fixed)
    mask[0] = 0
    torch.testing.assert_close(PatchNCCLoss()(warped, fixed, mask), PatchNCCLoss()(warped[1:], fixed[1:]))


def test_gradient_is_the_numerical_one(images) -> None:
    warped, fixed = images((5, 6), 1, 2).requires_grad_(), images((5, 6), 2, 2)
    assert torch.autograd.gradcheck(PatchNCCLoss(), (warped, fixed, images((5, 6), 3, 2)))
