"""Normalised mutual information: closed forms, scikit-image, what does not matter."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from skimage.metrics import normalized_mutual_information

from custom_components.common.errors import InputError
from custom_components.losses import NMILoss

SPATIAL = [(24, 30), (8, 9, 10)]


def whole(bins: int = 8, **options) -> NMILoss:
    return NMILoss(bins, fraction=1, **options)


@pytest.mark.parametrize("spatial", SPATIAL)
def test_agrees_with_scikit_image_on_grey_values_in_the_bins_centres(spatial) -> None:
    generator = np.random.default_rng(0)
    first = generator.integers(0, 8, spatial)
    second = np.where(generator.random(spatial) < 0.6, first, generator.integers(0, 8, spatial))
    tensors = [torch.from_numpy(image / 7.0)[None, None].double() for image in (first, second)]
    loss = whole().double()
    loss.deviation /= 4  # a hard histogram
    assert float(loss(*tensors)) == pytest.approx(-normalized_mutual_information(first, second, bins=8), rel=1e-6)


def test_equal_images_give_two_and_independent_ones_one() -> None:
    torch.manual_seed(0)
    image = (torch.rand(1, 1, 60, 60) * 7).round() / 7
    loss = whole()
    loss.deviation /= 4
    assert float(loss(image, image)) == pytest.approx(-2, abs=1e-4)
    assert float(loss(image, 1 - image)) == pytest.approx(-2, abs=1e-4)
    assert float(loss(image, torch.rand(1, 1, 60, 60))) == pytest.approx(-1, abs=0.01)


def test_the_share_estimates_the_whole_and_follows_the_seed() -> None:
    torch.manual_seed(0)
    image = torch.rand(1, 1, 120, 120)
    other = (image + 0.1 * torch.rand_like(image)).clamp(0, 1)
    part = NMILoss(16, fraction=0.2, minimum=1)
    torch.manual_seed(1)
    first = float(part(image, other))
    torch.manual_seed(1)
    assert float(part(image, other)) == first
    assert float(part(image, other)) != first
    assert first == pytest.approx(float(NMILoss(16, fraction=1)(image, other)), abs=0.03)


def test_voxels_without_weight_and_values_beyond_the_range_do_not_matter() -> None:
    torch.manual_seed(0)
    image, other = torch.rand(1, 1, 20, 40), torch.rand(1, 1, 20, 40)
    mask = torch.zeros_like(image)
    mask[..., :25] = 1
    part = float(whole()(image[..., :25], other[..., :25]))
    assert float(whole()(image, other, mask)) == pytest.approx(part, rel=1e-5)
    far = image.where(image < 1, 5.0)
    assert float(whole()(far, other)) == pytest.approx(float(whole()(far.clamp(max=1), other)))


def test_gradients_agree_with_differences() -> None:
    torch.manual_seed(0)
    loss = whole().double()
    image = torch.rand(1, 1, 5, 6, dtype=torch.float64, requires_grad=True)
    other = torch.rand(1, 1, 5, 6, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda x: loss(x, other), image, atol=1e-5)


def test_constant_images_count_as_independent_without_a_gradient() -> None:
    image = torch.full((1, 1, 12, 12), 3 / 7, requires_grad=True)
    loss = whole()
    loss.deviation /= 4
    value = loss(image, torch.full((1, 1, 12, 12), 1 / 7))
    assert float(value) == pytest.approx(-1)
    value.backward()
    assert torch.isfinite(image.grad).all()


@pytest.mark.parametrize("options", [{"bins": 1}, {"value_range": (1.0, 0.0)}, {"fraction": 0}, {"fraction": 1.5}])
def test_what_can_not_be_is_refused(options) -> None:
    with pytest.raises(InputError, match="two bins, a range and a share"):
        NMILoss(**options)
