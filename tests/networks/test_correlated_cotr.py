from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from custom_components.common.errors import InputError
from custom_components.networks import CorrelatedCOTR, CycleCOTR
from custom_components.networks.correlated_cotr import at
from custom_components.networks.cotr import cell_centres, from_canvas, to_canvas

SIDE = 32
SHAPE = (SIDE, SIDE)


class Colours(nn.Module):
    """Features of a place: a code in its grey value, so that equal values match."""

    channels, stride = 16, 2

    def forward(self, image: Tensor) -> Tensor:
        small = nn.functional.avg_pool2d(image, 2)
        return torch.cat([torch.cos(torch.pi * k * small) for k in range(1, 17)], dim=1)


def network(**options: float) -> CorrelatedCOTR:
    torch.manual_seed(0)
    return CorrelatedCOTR(Colours(), width=32, heads=4, layers=1, hidden=32, **{"sharpness": 400.0, **options}).eval()


def ramp(shift: int) -> Tensor:
    """(1, 1, S, S): every place has a value of its own, moved down by ``shift`` pixels."""
    values = (torch.arange(SIDE * SIDE // 4).reshape(SIDE // 2, SIDE // 2) * 0.618034) % 1
    whole = values.repeat_interleave(2, 0).repeat_interleave(2, 1)
    return whole.roll(shift, 0)[None, None]


def test_a_new_network_answers_with_the_correlation() -> None:
    image = torch.cat([ramp(0), ramp(4)], dim=1)
    places = torch.tensor([[[8.5, 10.5], [14.5, 20.5], [20.5, 6.5]]])
    with torch.no_grad():
        there = from_canvas(network()(image, to_canvas(places, SHAPE, False)), SHAPE, True)
        back = from_canvas(network()(image, to_canvas(places, SHAPE, True)), SHAPE, False)
    torch.testing.assert_close(there, places + torch.tensor([4.0, 0.0]), atol=0.3, rtol=0)
    torch.testing.assert_close(back, places - torch.tensor([4.0, 0.0]), atol=0.3, rtol=0)


def test_near_cells_are_preferred_where_nothing_tells_them_apart() -> None:
    places = torch.tensor([[[8.5, 10.5], [20.5, 20.5]]])
    with torch.no_grad():
        found = network(reach=0.02)(torch.full((1, 2, SIDE, SIDE), 0.5), to_canvas(places, SHAPE, False))
    torch.testing.assert_close(from_canvas(found, SHAPE, True), places, atol=0.1, rtol=0)


def test_queries_do_not_look_at_each_other() -> None:
    image, queries = torch.rand(2, 2, SIDE, SIDE), torch.rand(2, 7, 2)
    asked = network()
    nn.init.normal_(asked.head[-1].weight)
    with torch.no_grad():
        torch.testing.assert_close(asked(image, queries)[:, 3:5], asked(image, queries[:, 3:5]))


def test_every_part_learns() -> None:
    asked = network()
    queries = torch.rand(1, 5, 2)
    CycleCOTR(asked)(torch.rand(1, 2, SIDE, SIDE), queries).square().sum().backward()
    lazy = {name for name, weight in asked.named_parameters() if weight.grad is None}
    assert lazy == set()


def test_maps_are_linear_between_cells_and_keep_to_their_side() -> None:
    centres = cell_centres(4, 4, torch.zeros(1))
    maps = torch.stack([centres[side].T.reshape(2, 4, 4) for side in (0, 1)])[None]
    queries = torch.tensor([[[0.2, 0.4], [0.49, 0.5], [0.51, 0.5], [0.8, 0.7]]])
    found = at(maps, queries)
    torch.testing.assert_close(found[0, [0, 3]], queries[0, [0, 3]])
    # beyond the outermost centres theirs holds, never a mixture over the seam
    torch.testing.assert_close(found[0, 1:3, 0], torch.tensor([0.4375, 0.5625]))


def test_sizes_are_checked() -> None:
    with pytest.raises(InputError, match="S a multiple of 4"):
        network()(torch.rand(1, 2, 30, 30), torch.rand(1, 1, 2))
    with pytest.raises(InputError, match="multiple of 4 and of its 3 heads"):
        CorrelatedCOTR(Colours(), width=32, heads=3)
