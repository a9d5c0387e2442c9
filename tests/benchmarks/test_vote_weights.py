"""Weights of proposals are learned from where landmarks went."""

from __future__ import annotations

import pytest
import torch

from benchmarks.vote_weights import Votes, at_points, check, fit, median_error, train
from custom_components.networks.vote_weights import VoteWeights


def made(number: int, places: int = 500, proposals: int = 4) -> Votes:
    """Of three wrong proposals and a right one, whose first feature is the highest."""
    draw = torch.Generator().manual_seed(number)
    wanted = torch.randn(places, 2, generator=draw) * 0.01
    proposed = wanted[:, None] + torch.randn(places, proposals, 2, generator=draw) * 0.01
    right = torch.randint(proposals, (places,), generator=draw)
    proposed[torch.arange(places), right] = wanted
    features = torch.randn(places, proposals, 9, generator=draw)
    features[torch.arange(places), right, 0] += 6
    return Votes(f"pair {number}", f"case {number % 5}", features, proposed, wanted)


@pytest.fixture(scope="module")
def votes() -> list[Votes]:
    return [made(number) for number in range(10)]


def test_the_right_proposal_is_learned(votes) -> None:
    network, new = train(votes), made(99)
    assert new.error(network(new.features)).median() < 0.2 * median_error(new).median()


def test_check_and_fit_read_what_was_collected(votes, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("benchmarks.recorded.FOLDS", 2)
    torch.save([vars(one) for one in votes], tmp_path / "votes.pt")
    rows = check(str(tmp_path / "votes.pt")).splitlines()
    median, learned = (float(row.split("|")[2]) for row in rows[2:])
    assert learned < 0.5 * median
    assert "10 pairs of 5 tissue cases" in fit(str(tmp_path / "votes.pt"), str(tmp_path / "weights.pt"))
    assert VoteWeights.read(tmp_path / "weights.pt")(votes[0].features).shape == (500, 4)


def test_maps_are_read_at_points_of_the_finer_grid() -> None:
    rows, columns = torch.meshgrid(torch.arange(4.0), torch.arange(5.0), indexing="ij")
    maps = torch.stack([rows, columns])[None]  # one proposal, two features
    found = at_points(maps, torch.tensor([[4.5, 2.5], [3.5, 6.5]], dtype=torch.float64), (12, 15))
    # a coarse voxel is three wide: its centre lies at 3 i + 1
    torch.testing.assert_close(found[:, 0], torch.tensor([[3.5 / 3, 1.5 / 3], [2.5 / 3, 5.5 / 3]]))
