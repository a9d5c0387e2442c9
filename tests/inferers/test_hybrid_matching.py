from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from custom_components.common.errors import RegistrationError
from custom_components.fields import sample_at
from custom_components.inferers import Estimate, HybridMatching, ScatteredInterpolation, SplineInterpolation
from custom_components.matching import PointPairs, XFeatMatcher


class Made:
    """A matcher that gives the true pairs on a lattice, a share of them spoilt."""

    def __init__(self, truth: torch.Tensor, wrong: float = 0.2, step: int = 12) -> None:
        axis = torch.arange(40, 280, step).float()
        self.fixed = torch.cartesian_prod(axis, axis)
        generator = torch.Generator().manual_seed(0)
        self.wrong = torch.rand(len(self.fixed), generator=generator) < wrong
        noise = 20 * torch.rand(len(self.fixed), 2, generator=generator) - 10
        self.moving = self.fixed + sample_at(truth, self.fixed) + noise * self.wrong[:, None]
        self.asked = 0

    def __call__(self, moving: torch.Tensor, fixed: torch.Tensor) -> PointPairs:
        self.asked += 1
        return PointPairs(self.moving, self.fixed, torch.ones(len(self.fixed)))


@pytest.mark.parametrize(
    "interpolation",
    [SplineInterpolation(), ScatteredInterpolation("linear"), ScatteredInterpolation("thin_plate", 1.0)],
)
def test_the_field_follows_true_matches_among_wrong_ones(interpolation, make_pair) -> None:
    known = make_pair(amplitude=6)
    step = HybridMatching([Made(known.truth)], interpolation=interpolation)
    estimate = step(known.images, Estimate.identity(known.images.shape))
    inner = torch.cartesian_prod(torch.arange(60.0, 260, 7), torch.arange(60.0, 260, 7))
    away = (sample_at(estimate.ddf, inner) - sample_at(known.truth, inner)).norm(dim=1)
    assert away.median() < 0.3
    assert away.max() < 2.5
    details = estimate.stages[-1].details
    assert details["kept"] == len(estimate.matches)
    assert len(estimate.matches) + len(estimate.dropped) == details["matches"]


def test_wrong_matches_are_dropped(make_pair) -> None:
    known = make_pair(amplitude=6)
    made = Made(known.truth)
    estimate = HybridMatching([made])(known.images, Estimate.identity(known.images.shape))
    matches = estimate.matches
    off = (matches.moving - matches.fixed - sample_at(known.truth, matches.fixed)).norm(dim=1)
    assert (off > 5).float().mean() < 0.02
    assert len(estimate.matches) > 0.8 * int((~made.wrong).sum())


def test_a_second_matcher_is_asked_only_when_the_first_gives_too_few(make_pair) -> None:
    known = make_pair()
    for stop_after_matches, times in ((50, 0), (10**6, 1), (None, 1)):
        second = Made(known.truth)
        method = HybridMatching([Made(known.truth), second], stop_after_matches=stop_after_matches)
        method(known.images, Estimate.identity(known.images.shape))
        assert second.asked == times


def test_matches_after_an_estimate_are_given_in_the_moving_image(make_pair) -> None:
    known = make_pair(degrees=10)
    start = replace(Estimate.identity(known.images.shape), ddf=known.truth)
    estimate = HybridMatching([Made(torch.zeros_like(known.truth), wrong=0)])(known.images, start)
    torch.testing.assert_close(
        estimate.matches.moving,
        estimate.matches.fixed + sample_at(known.truth, estimate.matches.fixed),
        atol=1e-3,
        rtol=0,
    )


def test_too_few_matches_keep_the_estimate(make_pair) -> None:
    known = make_pair()
    few = Made(known.truth, wrong=0, step=120)
    start = replace(Estimate.identity(known.images.shape), ddf=known.truth + 1)
    assert torch.equal(HybridMatching([few])(known.images, start).ddf, start.ddf)


def test_matches_that_agree_by_chance_only_are_refused(make_pair) -> None:
    known = make_pair()
    with pytest.raises(RegistrationError, match="agree with their neighbours"):
        HybridMatching([Made(known.truth, wrong=1.0)])(known.images, Estimate.identity(known.images.shape))


def test_real_matches_improve_a_bent_pair(make_pair, error) -> None:
    known = make_pair(amplitude=8)
    step = HybridMatching([XFeatMatcher(scales=(1.0, 0.7), max_displacement=0.06)])
    found = error(step(known.images, Estimate.identity(known.images.shape)).ddf, known)
    assert found.mean() < 0.35 * error(torch.zeros_like(known.truth), known).mean()
