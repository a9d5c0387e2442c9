"""Networks of several levels in one module, and its export."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from custom_components.common.errors import InputError
from custom_components.fields import smooth
from custom_components.inferers import Estimate, PairImages, PatchPyramid
from custom_components.networks import NetworkPyramid, PatchUNet


@pytest.fixture
def pyramid() -> NetworkPyramid:
    """Three levels with different weights, whose fields are some voxels long."""
    torch.manual_seed(0)
    network = NetworkPyramid(PatchUNet(channels=(4, 6, 8), head_channels=(4,), initial_scale=1.0), 3).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape))
    return network


@pytest.fixture
def image() -> Tensor:
    return torch.rand(2, 2, 32, 32, generator=torch.Generator().manual_seed(1))


def test_the_levels_start_alike_and_share_nothing(image) -> None:
    pyramid = NetworkPyramid(PatchUNet(channels=(4, 6), head_channels=(4,)), 3)
    before = [pyramid(image, level) for level in range(3)]
    assert torch.equal(before[0], before[1])
    with torch.no_grad():
        for parameter in pyramid.levels[1].parameters():
            parameter.add_(1.0)
    after = [pyramid(image, level) for level in range(3)]
    assert torch.equal(after[0], before[0])
    assert torch.equal(after[2], before[2])
    assert not torch.allclose(after[1], before[1])


def test_a_level_learns_alone(image) -> None:
    pyramid = NetworkPyramid(PatchUNet(channels=(4, 6), head_channels=(4,)), 3)
    pyramid(image, 1).square().sum().backward()
    assert all(parameter.grad is None for level in (0, 2) for parameter in pyramid.levels[level].parameters())
    assert all(parameter.grad is not None for parameter in pyramid.levels[1].parameters())


def test_each_level_gives_what_its_network_gives(pyramid, image) -> None:
    for level in range(3):
        assert torch.equal(pyramid(image, level), pyramid.levels[level](image))


def test_negative_levels_count_from_the_finest_which_is_the_default(pyramid, image) -> None:
    assert torch.equal(pyramid(image), pyramid(image, 2))
    for level in range(3):
        assert torch.equal(pyramid(image, level - 3), pyramid(image, level))


@pytest.mark.parametrize("level", [3, -4])
def test_a_level_that_is_not_there_is_named(pyramid, image, level) -> None:
    with pytest.raises(InputError, match=f"3 levels has no level {level}"):
        pyramid(image, level)


def test_no_level_is_refused() -> None:
    with pytest.raises(InputError, match="at least one level, got 0"):
        NetworkPyramid(nn.Identity(), 0)


def test_the_scripted_pyramid_gives_the_same_at_every_level(pyramid, image, tmp_path: Path) -> None:
    torch.jit.save(torch.jit.script(pyramid), tmp_path / "pyramid.ts")
    scripted = torch.jit.load(tmp_path / "pyramid.ts")
    with torch.no_grad():
        for level in (-3, -2, -1, 0, 1, 2):
            torch.testing.assert_close(scripted(image, level), pyramid(image, level))
        torch.testing.assert_close(scripted(image), pyramid(image))
    found = [scripted(image, level) for level in range(3)]
    assert not torch.allclose(found[0], found[1])


def test_the_scripted_pyramid_registers_as_the_pyramid_itself(pyramid) -> None:
    moving, fixed = torch.rand(2, 1, 1, 70, 90, generator=torch.Generator().manual_seed(2))
    images = PairImages(moving, fixed, torch.ones_like(moving), torch.ones_like(fixed))
    fields = [
        PatchPyramid(network, patch_size=32, iterations=2)(images, Estimate.identity(images.shape)).ddf
        for network in (pyramid, torch.jit.script(pyramid))
    ]
    assert fields[0].abs().max() > 0.5
    torch.testing.assert_close(fields[1], fields[0], atol=1e-4, rtol=1e-4)


def test_a_pyramid_smooths_what_its_networks_give_scripted_too() -> None:
    pyramid = NetworkPyramid(nn.Identity(), 2, field_sigma=2.0)
    image = torch.rand(1, 2, 20, 21)
    assert torch.equal(pyramid(image, 0), smooth(image, 2.0))
    assert torch.allclose(torch.jit.script(pyramid)(image, 1), smooth(image, 2.0))
    with pytest.raises(InputError, match="no negative smoothing, got -1"):
        NetworkPyramid(nn.Identity(), 2, field_sigma=-1.0)
