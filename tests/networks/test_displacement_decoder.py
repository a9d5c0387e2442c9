"""The decoder of local costs."""

from __future__ import annotations

import pytest
import torch

from custom_components.common.errors import InputError
from custom_components.networks.displacement_decoder import LEVELS, PLANES, DisplacementDecoder


def planes(number: int, seed: int = 0) -> list[torch.Tensor]:
    draw = torch.Generator().manual_seed(seed)
    return [torch.rand(number, PLANES, *[2 * level.reach + 1] * 2, generator=draw) for level in LEVELS]


def test_offsets_are_voxels_of_the_finest_grid_in_row_and_col() -> None:
    for level in LEVELS:
        side = 2 * level.reach + 1
        grid = level.offsets.reshape(side, side, 2)
        assert grid[level.reach, level.reach].tolist() == [0, 0]
        assert grid[level.reach + 1, level.reach - 2].tolist() == [level.factor, -2 * level.factor]


def test_a_displacement_within_reach_and_a_spread_for_every_place() -> None:
    displacement, spread = DisplacementDecoder()(planes(7), planes(7, seed=1))
    assert displacement.shape == (7, 2)
    assert spread.shape == (7,)
    assert displacement.abs().max() <= max(level.reach * level.factor for level in LEVELS)
    assert (spread > 0).all()


def test_places_do_not_depend_on_each_other() -> None:
    network = DisplacementDecoder().eval()
    costs, means = planes(6), planes(6, seed=1)
    whole = network(costs, means)
    part = network([level[2:4] for level in costs], [level[2:4] for level in means])
    for all_of_them, two in zip(whole, part, strict=True):
        torch.testing.assert_close(all_of_them[2:4], two)


@pytest.mark.parametrize("value", [0.0, 5.0])
def test_costs_that_are_the_same_everywhere_give_numbers(value) -> None:
    flat = [torch.full_like(level, value) for level in planes(3)]
    network = DisplacementDecoder().eval()
    network.standardise_by(planes(20))
    assert all(torch.isfinite(found).all() for found in network(flat, flat))


def test_weights_go_through_a_file(tmp_path) -> None:
    network = DisplacementDecoder().eval()
    network.standardise_by(planes(20))
    torch.save(network.state_dict(), tmp_path / "decoder.pt")
    read = DisplacementDecoder.read(tmp_path / "decoder.pt")
    costs, means = planes(4), planes(4, seed=1)
    assert torch.equal(read(costs, means)[0], network(costs, means)[0])


def test_another_network_is_refused(tmp_path) -> None:
    torch.save({"layers.weight": torch.zeros(2)}, tmp_path / "other.pt")
    with pytest.raises(InputError, match=r"other\.pt"):
        DisplacementDecoder.read(tmp_path / "other.pt")
