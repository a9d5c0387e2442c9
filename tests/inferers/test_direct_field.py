"""One forward pass: direction, affine, both dimensions, folds."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from custom_components.fields import affine_to_ddf, folding_share
from custom_components.inferers import DirectField, Estimate, PairImages


class Shift(nn.Module):
    """A constant field; keeps what it was given."""

    def forward(self, image: Tensor) -> Tensor:
        self.given = image
        return torch.full((1, image.ndim - 2, *image.shape[2:]), 1.5)


class Rough(nn.Module):
    def forward(self, image: Tensor) -> Tensor:
        torch.manual_seed(0)
        return 3 * torch.randn(1, image.ndim - 2, *image.shape[2:])


def images(spatial: tuple[int, ...]) -> PairImages:
    torch.manual_seed(0)
    moving, fixed = torch.rand(1, 1, *spatial), torch.rand(1, 1, *spatial)
    return PairImages(moving, fixed, torch.ones_like(moving), torch.ones_like(fixed))


@pytest.mark.parametrize("spatial", [(20, 25), (9, 10, 11)])
def test_the_network_sees_moving_first_and_its_field_is_the_result(spatial) -> None:
    pair, network = images(spatial), Shift()
    found = DirectField(network)(pair, Estimate.identity(spatial))
    assert torch.allclose(network.given, torch.cat([pair.moving, pair.fixed], dim=1), atol=1e-5)
    assert torch.equal(found.ddf, torch.full((1, len(spatial), *spatial), 1.5))
    assert [stage.name for stage in found.stages] == ["network"]


def test_the_affine_comes_first() -> None:
    pair, network = images((20, 25)), Shift()
    matrix = np.array([[1.0, 0, 3], [0, 1, -2], [0, 0, 1]])
    start = replace(Estimate.identity((20, 25)), affine=matrix, ddf=affine_to_ddf(matrix, (20, 25)))
    found = DirectField(network)(pair, start)
    assert torch.allclose(network.given[0, 0, :-3, 2:], pair.moving[0, 0, 3:, :-2], atol=1e-4)
    assert torch.allclose(found.ddf[0, :, 5, 5], torch.tensor([4.5, -0.5]))


def test_folds_are_left_or_repaired() -> None:
    pair, start = images((30, 30)), Estimate.identity((30, 30))
    assert folding_share(DirectField(Rough())(pair, start).ddf) > 0.1
    assert folding_share(DirectField(Rough(), minimum_jacobian=0.1)(pair, start).ddf) == 0


def test_a_given_field_goes_to_the_network_behind_the_images() -> None:
    class Doubled(nn.Module):
        def forward(self, image: Tensor) -> Tensor:
            assert image.shape[1] == 4
            return 2 * image[:, 2:]

    image = torch.rand(1, 1, 20, 24)
    start = Estimate.identity((20, 24))
    before = Estimate(torch.full((1, 2, 20, 24), 1.5), start.affine, start.matches, start.dropped)
    found = DirectField(Doubled(), given=True)(PairImages(image, image, image, image), before)
    assert torch.allclose(found.ddf, torch.full((1, 2, 20, 24), 3.0))
