"""The coarse network: any size, fields at every resolution in voxels of their own, a start without displacement."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from custom_components.common.errors import InputError
from custom_components.networks import FlowNet

SPATIAL = [(21, 34), (4, 5), (64, 63), (9, 11, 14), (5, 4, 7)]


@pytest.mark.parametrize("spatial", SPATIAL)
def test_the_field_has_the_size_of_the_image_is_nearly_zero_at_first_and_every_weight_learns(spatial) -> None:
    torch.manual_seed(0)
    network = FlowNet(len(spatial), (4, 6, 8))
    ddf = network(torch.rand(2, 2, *spatial))
    assert ddf.shape == (2, len(spatial), *spatial)
    assert 0 < ddf.abs().max() < 0.01
    (ddf - 1).square().sum().backward()
    gradients = {name: weight.grad for name, weight in network.named_parameters()}
    assert all(gradient is not None and torch.isfinite(gradient).all() for gradient in gradients.values())
    assert all(gradients[f"heads.{level}.conv.weight"].any() for level in range(3))


@pytest.mark.parametrize("spatial", [(21, 34), (9, 11, 14)])
def test_a_coarse_field_is_in_voxels_of_its_own_level(spatial) -> None:
    """The coarsest head alone, whose voxels are as many of the image's as its side is shorter."""
    network = FlowNet(len(spatial), (4, 4, 4))
    constant = torch.arange(1.0, len(spatial) + 1)
    for level, head in enumerate(network.heads):
        nn.init.zeros_(head.conv.weight)
        nn.init.zeros_(head.conv.bias)
        if level == 0:
            head.conv.bias.data.copy_(constant)
    sides = [(side + 3) // 4 for side in spatial]
    wanted = [value * side / coarse for value, side, coarse in zip(constant.tolist(), spatial, sides, strict=True)]
    ddf = network(torch.rand(1, 2, *spatial))
    for channel, value in enumerate(wanted):
        torch.testing.assert_close(ddf[0, channel], torch.full(spatial, value))


def test_fields_of_all_levels_add_up_and_negative_displacements_are_not_damped() -> None:
    network = FlowNet(2, (4, 4, 4))
    for head in network.heads:
        nn.init.zeros_(head.conv.weight)
        nn.init.constant_(head.conv.bias, -1.0)
    torch.testing.assert_close(network(torch.rand(1, 2, 16, 32)), torch.full((1, 2, 16, 32), -7.0))


def test_only_the_wide_levels_have_kernels_of_five_and_only_the_deeper_ones_a_stride() -> None:
    first = [stage[0].conv for stage in FlowNet(2, (2, 3, 4, 5)).encoder]
    assert [convolution.kernel_size for convolution in first] == [(5, 5), (5, 5), (3, 3), (3, 3)]
    assert [convolution.stride for convolution in first] == [(1, 1), (2, 2), (2, 2), (2, 2)]
    assert [convolution.weight.shape[:2] for convolution in first] == [(2, 2), (3, 2), (4, 3), (5, 4)]


@pytest.mark.parametrize("spatial", [(21, 34), (9, 11, 14)])
def test_a_scripted_network_gives_the_same(spatial) -> None:
    torch.manual_seed(0)
    network, image = FlowNet(len(spatial), (4, 4, 4)).eval(), torch.rand(1, 2, *spatial)
    with torch.no_grad():
        assert torch.allclose(torch.jit.script(network)(image), network(image), atol=1e-8)


def test_one_level_and_too_small_an_image_are_refused() -> None:
    with pytest.raises(InputError, match=r"channels has at least two levels, got \(8,\)"):
        FlowNet(2, (8,))
    with pytest.raises(InputError, match="at least 4 voxels a side"):
        FlowNet(2, (4, 4, 4))(torch.rand(1, 2, 3, 8))
