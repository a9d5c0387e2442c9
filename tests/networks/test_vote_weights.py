"""Shares of any number of proposals, whatever their order."""

from __future__ import annotations

import pytest
import torch

from custom_components.common.errors import InputError
from custom_components.networks.vote_weights import VoteWeights


@pytest.fixture
def network() -> VoteWeights:
    torch.manual_seed(0)
    return VoteWeights().eval()


@pytest.mark.parametrize("count", [1, 5, 15])
def test_shares_sum_to_one(count: int, network: VoteWeights) -> None:
    shares = network(torch.randn(7, count, 9))
    assert shares.shape == (7, count)
    torch.testing.assert_close(shares.sum(1), torch.ones(7))


def test_the_order_of_the_proposals_does_not_matter(network: VoteWeights) -> None:
    features, order = torch.randn(4, 6, 9), torch.tensor([3, 0, 5, 1, 4, 2])
    torch.testing.assert_close(network(features[:, order]), network(features)[:, order])


def test_maps_are_places(network: VoteWeights) -> None:
    maps = torch.randn(3, 9, 4, 5)
    there = network(maps[:, :, 2, 3][None])[0]
    torch.testing.assert_close(network.of_maps(maps)[:, 2, 3], there)


def test_a_file_gives_the_same_network_back(network: VoteWeights, tmp_path) -> None:
    network.standardise_by(torch.randn(50, 4, 9) * 3 + 1)
    torch.save(network.state_dict(), tmp_path / "votes.pt")
    features = torch.randn(2, 4, 9)
    torch.testing.assert_close(VoteWeights.read(tmp_path / "votes.pt")(features), network(features))


def test_another_file_is_refused(tmp_path) -> None:
    torch.save({"layers.0.weight": torch.zeros(3, 3)}, tmp_path / "other.pt")
    with pytest.raises(InputError, match=r"other\.pt"):
        VoteWeights.read(tmp_path / "other.pt")
    with pytest.raises(InputError, match="does not exist"):
        VoteWeights.read(tmp_path / "none.pt")
