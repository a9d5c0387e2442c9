"""Paired statistics against closed forms and brute force."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.paired import compare_paired


def test_wins_losses_and_difference_are_counted_by_pair_and_by_case():
    paired = compare_paired([1, 2, 3, 9], [2, 3, 3, 5], ["a", "a", "b", "c"])
    assert (paired.pair_wins, paired.pair_losses) == (2, 1)
    assert (paired.case_wins, paired.case_losses) == (1, 1)
    assert paired.difference == pytest.approx((-1 - 1 + 0 + 4) / 4)


def test_equal_errors_give_a_zero_interval():
    paired = compare_paired([1.0, 2.0, 3.0], [1.0, 2.0, 3.0], ["a", "b", "c"])
    assert (paired.difference, paired.low, paired.high) == (0, 0, 0)


def test_interval_equals_a_loop_that_redraws_whole_cases():
    rng = np.random.default_rng(3)
    cases = np.array(["a"] * 7 + ["b"] * 2 + ["c"] * 5 + ["d"])
    ours, theirs = rng.normal(size=15), rng.normal(size=15)
    paired = compare_paired(ours, theirs, cases, resamples=300, seed=5)
    names, draws = np.unique(cases), np.random.default_rng(5).integers(4, size=(300, 4))
    means = [np.concatenate([(ours - theirs)[cases == names[index]] for index in draw]).mean() for draw in draws]
    assert (paired.low, paired.high) == pytest.approx(tuple(np.percentile(means, [2.5, 97.5])))


def test_interval_widens_when_pairs_of_a_case_move_together():
    case_effect = np.repeat(np.random.default_rng(0).normal(size=20), 10)
    together = compare_paired(case_effect, np.zeros(200), np.repeat(np.arange(20), 10).astype(str))
    apart = compare_paired(case_effect, np.zeros(200), np.arange(200).astype(str))
    assert together.high - together.low > 2 * (apart.high - apart.low)


def test_single_case_has_no_interval():
    paired = compare_paired([1.0, 2.0], [2.0, 2.0], ["a", "a"])
    assert np.isnan([paired.low, paired.high]).all()


def test_unequal_lengths_are_refused():
    with pytest.raises(ValueError, match="equally many"):
        compare_paired([1.0], [1.0, 2.0], ["a"])
