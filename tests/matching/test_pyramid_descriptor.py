"""Features of a network's encoder at points: geometry, units, and matchers made of networks."""

from __future__ import annotations

from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from custom_components.common.errors import InputError
from custom_components.matching import DeepKeypointMatcher, LearnedMatching, PyramidDescriptor
from custom_components.networks import MaskFlownetS


class Corners(nn.Module):
    """A pyramid whose level i is every 2^(i+1)-th voxel of the image, and its square: where voxels lie is known."""

    def __init__(self) -> None:
        super().__init__()
        self.unused = nn.Parameter(torch.zeros(1))

    def forward(self, image: Tensor) -> list[Tensor]:
        return [
            torch.cat([part, part**2, torch.sin(9 * part)], dim=1)
            for part in (image[..., ::2, ::2], image[..., ::4, ::4])
        ]


def network() -> MaskFlownetS:
    torch.manual_seed(0)
    return MaskFlownetS(channels=[8] * 6, estimator_channels=[8], context_channels=[8] * 6).eval()


def test_every_group_has_unit_length_and_short_ones_are_filled():
    net = MaskFlownetS(channels=[4, 6, 8, 8, 8, 8], estimator_channels=[8], context_channels=[8] * 6)
    found = PyramidDescriptor(net, [0, 1, 2])(torch.rand(1, 1, 70, 81), torch.rand(30, 2) * 60)
    assert found.shape == (30, 3, 8)
    assert torch.allclose(found.norm(dim=2), torch.ones(30, 3), atol=1e-5)
    assert not found[:, 0, 4:].any()
    assert not found[:, 1, 6:].any()


def test_a_point_gets_the_feature_of_the_voxel_where_the_strided_grid_has_it():
    image = torch.rand(1, 1, 32, 40)
    net: Any = SimpleNamespace(pyramid=Corners())
    points = torch.tensor([[8.0, 12.0], [16.0, 4.0]])
    moved = image.roll((4, 8), (2, 3))
    first = PyramidDescriptor(net, [0, 1])(image, points)
    second = PyramidDescriptor(net, [0, 1])(moved, points + torch.tensor([4.0, 8.0]))
    assert torch.allclose(first, second, atol=1e-4)
    assert not torch.allclose(first[0], first[1], atol=1e-2)


def test_without_points_there_are_no_descriptors():
    assert PyramidDescriptor(network(), [1, 2])(torch.rand(1, 1, 64, 64), torch.zeros(0, 2)).shape == (0, 2, 8)


@pytest.mark.parametrize("levels", [[], [-1]])
def test_levels_are_checked(levels):
    with pytest.raises(InputError, match="levels are counted from 0"):
        PyramidDescriptor(network(), levels)


def test_a_network_without_encoder_is_refused():
    with pytest.raises(InputError, match="has no encoder 'pyramid'"):
        PyramidDescriptor(nn.Identity())


def test_a_matcher_is_made_of_the_weights_of_the_moment(tmp_path):
    net = network()
    make = LearnedMatching(partial(PyramidDescriptor, levels=[0, 1]), tmp_path, search_radius=0.1, max_points=100)
    image = nn.functional.interpolate(torch.rand(1, 1, 24, 24), (96, 96), mode="bicubic").clamp(0, 1)
    matcher = make(net)
    assert isinstance(matcher.matcher, DeepKeypointMatcher)
    assert matcher.matcher.search_radius == 0.1
    found = matcher(image, image)
    assert len(found) > 5
    assert torch.equal(found.moving, found.fixed)
    before = matcher.file(image, image)
    assert before.is_file()
    with torch.no_grad():
        net.pyramid.levels[0][0][0].weight.mul_(2)
    assert make(net).file(image, image) != before
