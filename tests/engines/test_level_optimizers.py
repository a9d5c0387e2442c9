"""Every level has its own optimiser and schedule."""

from __future__ import annotations

import torch

from custom_components.engines import level_optimizers, level_schedulers
from custom_components.networks import NetworkPyramid, PatchUNet


def test_a_step_of_one_level_moves_that_levels_network_and_rate_alone() -> None:
    pyramid = NetworkPyramid(PatchUNet(channels=(4, 8), head_channels=(4,)), 2)
    before = [[parameter.detach().clone() for parameter in level.parameters()] for level in pyramid.levels]
    optimizers = level_optimizers(pyramid, 0.5)
    schedulers = level_schedulers(optimizers, 0.1)
    for parameter in pyramid.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizers[1].step()
    schedulers[1].step()
    still, moved = (
        [torch.equal(old, new) for old, new in zip(olds, level.parameters(), strict=True)]
        for olds, level in zip(before, pyramid.levels, strict=True)
    )
    assert all(still)
    assert not any(moved)
    assert [optimizer.param_groups[0]["lr"] for optimizer in optimizers] == [0.5, 0.05]
