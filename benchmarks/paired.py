"""Paired statistics over tissue cases: sections of one case share slides, so pairs are not independent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Paired:
    """Difference ours - baseline of an error, so below 0 is better.

    Attributes:
        difference: mean over pairs.
        low: lower end of the 95 % bootstrap interval.
        high: upper end.
        pair_wins: pairs where ours is smaller.
        pair_losses: pairs where ours is larger.
        case_wins: cases whose mean difference is below 0.
        case_losses: cases whose mean difference is above 0.
    """

    difference: float
    low: float
    high: float
    pair_wins: int
    pair_losses: int
    case_wins: int
    case_losses: int


def compare_paired(
    ours: Sequence[float],
    theirs: Sequence[float],
    cases: Sequence[str],
    resamples: int = 10000,
    seed: int = 0,
) -> Paired:
    """Compare two errors of the same pairs; the bootstrap draws whole cases with replacement.

    Args:
        ours: N errors.
        theirs: N errors, same order.
        cases: N names; pairs of one name are drawn together.
        resamples: bootstrap draws.
        seed: of the draws.

    Returns:
        Mean difference, its 95 % percentile interval (NaN with a single case), wins and losses.

    Raises:
        ValueError: the lengths differ or there is nothing to compare.
    """
    if not len(ours) == len(theirs) == len(cases) > 0:
        raise ValueError(f"need equally many errors and cases, got {len(ours)}, {len(theirs)}, {len(cases)}")
    difference = np.asarray(ours, np.float64) - np.asarray(theirs, np.float64)
    names, which = np.unique(np.asarray(cases), return_inverse=True)
    sums, counts = np.bincount(which, difference).astype(np.float64), np.bincount(which)
    low, high = _interval(sums, counts, resamples, seed) if len(names) > 1 else (float("nan"), float("nan"))
    return Paired(
        difference=float(difference.mean()),
        low=low,
        high=high,
        pair_wins=int((difference < 0).sum()),
        pair_losses=int((difference > 0).sum()),
        case_wins=int((sums < 0).sum()),
        case_losses=int((sums > 0).sum()),
    )


def _interval(sums: NDArray[np.float64], counts: NDArray[np.int64], resamples: int, seed: int) -> tuple[float, float]:
    """Percentile interval of the mean over pairs when cases with these sums and counts are redrawn."""
    drawn = np.random.default_rng(seed).integers(len(sums), size=(resamples, len(sums)))
    means = sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)
