"""The cosine of features: closed forms, what trains and what stays, features before the transform."""

from __future__ import annotations

from copy import deepcopy

import pytest
import torch
from torch import Tensor, nn

from custom_components.common.errors import InputError
from custom_components.fields import warp
from custom_components.losses import DeepSimLoss
from custom_components.networks import FeatureEncoder

SPATIAL = [(24, 32), (16, 16, 17)]


def encoder(dimensions: int = 2) -> FeatureEncoder:
    torch.manual_seed(0)
    return FeatureEncoder(dimensions, 1, (4, 6, 8))


class Given(nn.Module):
    """Features (1 - x, x) at full size and (x, x * x), zero for black, at half of it."""

    def forward(self, image: Tensor) -> list[Tensor]:
        half = nn.functional.avg_pool2d(image, 2)
        return [torch.cat([1 - image, image], 1), torch.cat([half, half.square()], 1)]


class Scaled(nn.Module):
    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> list[Tensor]:
        return [7 * level for level in self.network(image)]


def test_closed_form() -> None:
    zeros, ones = torch.zeros(1, 1, 4, 6), torch.ones(1, 1, 4, 6)
    loss = DeepSimLoss(Given())
    # orthogonal at full size, a zero vector at half size
    assert float(loss(ones, zeros)) == pytest.approx(1)
    half = 0.5 * ones
    # (1/2, 1/2) beside (1, 0): cosine of 45 degrees, then a zero vector
    assert float(loss(half, zeros)) == pytest.approx((1 - 0.5**0.5 + 1) / 2)
    assert float(DeepSimLoss(Given(), levels=[0])(half, zeros)) == pytest.approx(1 - 0.5**0.5)
    assert float(DeepSimLoss(Given(), levels=[1])(half, ones)) == pytest.approx(1 - 3 / 10**0.5)
    # without their mean (1, 0) and (0, 1) are opposite
    assert float(DeepSimLoss(Given(), levels=[0], zero_mean=True)(ones, zeros)) == pytest.approx(2)


def test_a_mask_weighs_voxels() -> None:
    warped, fixed = torch.zeros(1, 1, 4, 4), torch.zeros(1, 1, 4, 4)
    warped[..., :2] = 1  # orthogonal on the left
    mask = torch.ones_like(fixed)
    loss = DeepSimLoss(Given(), levels=[0])
    assert float(loss(warped, fixed, mask)) == pytest.approx(0.5)
    mask[..., :2] = 0
    assert float(loss(warped, fixed, mask)) == pytest.approx(0)
    assert float(loss(warped, fixed, 0 * mask)) == 0


@pytest.mark.parametrize("spatial", SPATIAL)
def test_equal_images_cost_nothing_and_others_at_most_two(spatial) -> None:
    loss = DeepSimLoss(encoder(len(spatial)))
    image, other = torch.rand(2, 1, *spatial), torch.rand(2, 1, *spatial)
    assert float(loss(image, image)) == pytest.approx(0, abs=1e-5)
    assert 0 < float(loss(image, other)) <= 2
    assert float(loss(image, other)) == pytest.approx(float(loss(other, image)), rel=1e-5)


@pytest.mark.parametrize("spatial", SPATIAL)
def test_the_size_of_features_does_not_matter(spatial) -> None:
    network = encoder(len(spatial)).eval()
    image, other = torch.rand(1, 1, *spatial), torch.rand(1, 1, *spatial)
    plain, scaled = DeepSimLoss(network, epsilon=1e-12), DeepSimLoss(Scaled(network), epsilon=1e-12)
    assert float(plain(image, other)) == pytest.approx(float(scaled(image, other)), rel=1e-4)


def test_gradients_reach_the_warped_image_alone_and_the_extractor_never_changes() -> None:
    network = encoder()
    before = deepcopy(network.state_dict())
    loss = DeepSimLoss(network)
    loss.train()
    assert loss.training
    assert not network.training
    warped = torch.rand(1, 1, 24, 32, requires_grad=True)
    fixed = torch.rand(1, 1, 24, 32, requires_grad=True)
    loss(warped, fixed).backward()
    assert warped.grad is not None
    assert warped.grad.abs().max() > 0
    assert fixed.grad is None
    assert all(parameter.grad is None for parameter in network.parameters())
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())


def test_dropout_is_off() -> None:
    loss = DeepSimLoss(encoder())
    loss.train()
    image, other = torch.rand(1, 1, 24, 32), torch.rand(1, 1, 24, 32)
    assert torch.equal(loss(image, other), loss(image, other))


@pytest.mark.parametrize("spatial", SPATIAL)
def test_features_before_the_transform(spatial) -> None:
    moving, fixed = torch.rand(1, 1, *spatial), torch.rand(1, 1, *spatial)
    zero = torch.zeros(1, len(spatial), *spatial)
    first = DeepSimLoss(encoder(len(spatial)), extract_before_transform=True)
    last = DeepSimLoss(encoder(len(spatial)))
    # without displacement the order does not matter
    assert float(first.of_field(moving, fixed, zero)) == pytest.approx(float(last(moving, fixed)), rel=1e-4)
    assert float(last.of_field(moving, fixed, zero)) == pytest.approx(float(last(moving, fixed)), rel=1e-4)
    ddf = zero + 3.0
    warped = warp(moving, ddf, padding_mode="border")
    assert float(last.of_field(moving, fixed, ddf)) == pytest.approx(float(last(warped, fixed)), rel=1e-5)
    assert float(first.of_field(moving, fixed, ddf)) != pytest.approx(float(last(warped, fixed)), rel=1e-4)


def test_fields_shrink_with_the_levels() -> None:
    """A shift by eight voxels is one by four at half the size, and local features shift with it."""
    moving = torch.rand(1, 1, 8, 400)
    fixed = torch.zeros_like(moving)
    fixed[..., :392] = moving[..., 8:]
    ddf = torch.zeros(1, 2, 8, 400)
    ddf[:, 1] = 8
    for level in (0, 1):
        first = DeepSimLoss(Given(), levels=[level], extract_before_transform=True)
        assert float(first.of_field(moving, fixed, ddf)) < 0.03  # only where the image went on by its border
        assert float(first.of_field(moving, fixed, 0 * ddf)) > 1.3 * float(first.of_field(moving, fixed, ddf))
        assert float(first.of_field(moving, fixed, 0 * ddf)) > (0.05 if level == 0 else -1)


def test_what_can_not_be_is_refused() -> None:
    image = torch.rand(1, 1, 24, 32)
    with pytest.raises(InputError, match=r"list of feature maps with the levels \(5,\)"):
        DeepSimLoss(encoder(), levels=[5])(image, image)
    with pytest.raises(InputError, match="got none"):
        DeepSimLoss(encoder(), levels=[])
    with pytest.raises(InputError, match="warped has the shape"):
        DeepSimLoss(encoder())(image, image[..., :20])
