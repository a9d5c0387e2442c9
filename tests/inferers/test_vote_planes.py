"""Planes of votes peak where the proposals lie."""

from __future__ import annotations

import numpy as np
import torch

from custom_components.inferers.ballot import Ballot
from custom_components.inferers.vote_planes import VOTES, vote_planes
from custom_components.networks.displacement_decoder import LEVELS

SIZE = (40, 48)
POINTS = torch.tensor([[10.0, 12.0], [30.5, 20.5]])


def constant(row: float, col: float) -> np.ndarray:
    """A flow is x, y."""
    return np.broadcast_to(np.float32([col, row]), (*SIZE, 2)).copy()


def ballot(*proposals: tuple[float, float], sure=None, shares=None) -> Ballot:
    count = len(proposals)
    even = np.full(count, 1 / count)
    maps = (
        np.float32(np.reshape(values, (count, 1, 1)) * np.ones((1, *SIZE)))
        for values in (np.ones(count) if sure is None else sure, even if shares is None else shares)
    )
    return Ballot([constant(*one) for one in proposals], *maps)


def peak(planes: torch.Tensor, level) -> list[list[float]]:
    return level.offsets[planes.flatten(1).argmax(1)].tolist()


def test_a_proposal_is_where_it_lies_from_the_field() -> None:
    field = torch.tensor([1.0, 5.0]).view(1, 2, 1, 1).expand(1, 2, *SIZE)
    for level, planes in zip(LEVELS, vote_planes(ballot((5.0, -3.0)), field, POINTS), strict=True):
        assert planes.shape == (2, VOTES, 2 * level.reach + 1, 2 * level.reach + 1)
        reach = level.reach * level.factor
        wanted = [min(4.0, reach), max(-8.0, -reach)]
        assert peak(planes[:, 0], level) == [wanted, wanted]


def test_lengths_are_those_of_the_coarser_grid() -> None:
    planes = vote_planes(ballot((4.0, -2.0)), torch.zeros(1, 2, *SIZE), POINTS, factor=0.5)
    assert peak(planes[0][:, 0], LEVELS[0]) == [[2.0, -1.0]] * 2


def test_one_plane_counts_heads_and_the_other_votes() -> None:
    given = ballot((0.0, 0.0), (0.0, 0.0), (3.0, 3.0), shares=[0.1, 0.1, 0.8])
    fine = vote_planes(given, torch.zeros(1, 2, *SIZE), POINTS)[0]
    assert peak(fine[:, 0], LEVELS[0]) == [[0.0, 0.0]] * 2
    assert peak(fine[:, 1], LEVELS[0]) == [[3.0, 3.0]] * 2


def test_a_flow_that_disagrees_with_itself_has_no_say() -> None:
    fine = vote_planes(ballot((0.0, 0.0), (3.0, 3.0), sure=[0, 1]), torch.zeros(1, 2, *SIZE), POINTS)[0]
    assert peak(fine[:, 0], LEVELS[0]) == [[3.0, 3.0]] * 2
    assert fine[:, :, 4, 4].max() < 1e-3
