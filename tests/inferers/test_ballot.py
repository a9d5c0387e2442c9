"""Shares of a vote, and what the agreement of proposals says."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from custom_components.fields import warp
from custom_components.inferers.ballot import Ballot, contrast_free_distance
from custom_components.inferers.flow_refinement import Flow, to_bytes


def constant(x: float, y: float, shape: tuple[int, int] = (40, 50)) -> Flow:
    return np.stack([np.full(shape, x, np.float32), np.full(shape, y, np.float32)], axis=2)


def shifted(image: torch.Tensor, columns: float) -> torch.Tensor:
    ddf = torch.zeros(1, 2, *image.shape[2:])
    ddf[:, 1] = columns
    return warp(image, ddf)


def test_shares_sum_to_one_and_the_proposal_that_aligns_has_most(tissue) -> None:
    grey = to_bytes(tissue(200))
    size = grey.shape
    flows = [constant(0, 0, size), constant(5, 0, size), constant(0, -7, size)]
    ballot = Ballot.by_similarity(flows, [np.ones(size, np.float32)] * 3, [(grey, grey)], 6.0, 20.0)
    np.testing.assert_allclose(ballot.shares.sum(axis=0), 1, atol=1e-5)
    assert ballot.shares.min() >= 0
    inside = np.s_[60:-60, 70:-70]
    assert ballot.shares[0][inside].min() > 0.8


def test_without_sharpness_all_proposals_have_the_same_share(tissue) -> None:
    grey = to_bytes(tissue(96))
    flows = [constant(0, 0, grey.shape), constant(5, 0, grey.shape)]
    ballot = Ballot.by_similarity(flows, [np.ones(grey.shape, np.float32)] * 2, [(grey, grey)], 6.0, 0.0)
    np.testing.assert_allclose(ballot.shares, 0.5, atol=1e-6)


def test_several_renderings_count_alike(tissue) -> None:
    """A rendering that speaks for one proposal is balanced by one that speaks as much for the other."""
    grey = to_bytes(tissue(200))
    moved = np.roll(grey, 6, axis=1)  # aligned by 6 columns
    flows = [constant(0, 0, grey.shape), constant(6, 0, grey.shape)]
    sure = [np.ones(grey.shape, np.float32)] * 2
    pairs = [(grey, grey), (grey, moved)]
    ballot = Ballot.by_similarity(flows, sure, pairs, 8.0, 20.0)
    inside = np.s_[70:-70, 80:-80]
    assert np.median(ballot.shares[0][inside]) == pytest.approx(0.5, abs=0.2)


def of_flows(*flows: Flow, sure: tuple[float, ...] = (), shares: tuple[float, ...] = ()) -> Ballot:
    size, count = flows[0].shape[:2], len(flows)

    def maps(values: tuple[float, ...], usual: float) -> np.ndarray:
        return np.stack([np.full(size, value, np.float32) for value in values or (usual,) * count])

    return Ballot(flows, maps(sure, 1.0), maps(shares, 1 / count))


def test_proposals_that_agree_with_the_field_do_not_disagree() -> None:
    ballot = of_flows(*[constant(2, -3)] * 3)
    assert ballot.disagreement(constant(2, -3)).max() < 1e-6
    assert ballot.spread(constant(2, -3)).max() < 1e-6


@pytest.mark.parametrize(("shares", "sure"), [((0.5, 0.5), (1, 1)), ((0.8, 0.2), (1, 1)), ((0.8, 0.2), (0.25, 1))])
def test_disagreement_of_two_constant_flows_has_a_closed_form(shares, sure) -> None:
    field = constant(1, 1)
    ballot = of_flows(constant(4, 5), constant(1, 3), shares=shares, sure=sure)  # 5 and 2 voxels away
    first, second = (share * own for share, own in zip(shares, sure, strict=True))
    wanted = np.sqrt((first * 25 + second * 4) / (first + second))
    np.testing.assert_allclose(ballot.disagreement(field), wanted, rtol=1e-4)
    np.testing.assert_allclose(ballot.spread(field), 3.5, rtol=1e-5)


def test_where_nobody_has_a_vote_the_disagreement_is_finite() -> None:
    ballot = of_flows(constant(4, 5), constant(1, 3), sure=(0, 0))
    assert np.isfinite(ballot.disagreement(constant(1, 1))).all()


def test_the_distance_is_blind_to_the_sign_of_contrast(tissue) -> None:
    grey = tissue(200)
    same, inverted = (contrast_free_distance(image, grey, 6.0) for image in (grey, 1 - grey))
    inside = np.s_[60:-60, 70:-70]
    assert same.max() == 0
    moved = contrast_free_distance(shifted(grey, 4), grey, 6.0)
    moved_inverted = contrast_free_distance(1 - shifted(grey, 4), grey, 6.0)
    assert inverted[inside].mean() < 0.02 * moved[inside].mean()
    np.testing.assert_allclose(moved_inverted[inside], moved[inside], rtol=0.05)


def test_the_distance_grows_with_a_shift_of_the_tissue(tissue) -> None:
    grey = tissue(200)
    inside = np.s_[60:-60, 70:-70]
    found = [contrast_free_distance(shifted(grey, columns), grey, 6.0)[inside].mean() for columns in (0, 1, 2, 4)]
    assert found == sorted(found)
    assert found[0] < 0.1 * found[1]
