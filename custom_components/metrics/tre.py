"""Target registration error as the ANHIR challenge defines it (Borovec et al., IEEE TMI 2020)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from custom_components.errors import InputError

Points = npt.NDArray[np.float64]


def tre(warped: Points, fixed: Points) -> npt.NDArray[np.float64]:
    """(N,) distances between warped moving landmarks and fixed landmarks, both (N, D) pixels of the fixed image.

    Raises:
        InputError: the shapes differ.
    """
    if warped.shape != fixed.shape:
        raise InputError(f"landmarks differ in shape: warped {warped.shape}, fixed {fixed.shape}")
    return np.linalg.norm(warped - fixed, axis=1)


def rtre(warped: Points, fixed: Points, diagonal: float) -> npt.NDArray[np.float64]:
    """(N,) TRE relative to the diagonal of the fixed image in pixels."""
    return tre(warped, fixed) / diagonal


@dataclass(frozen=True)
class PairTRE:
    """rTRE of one pair; ``robustness`` is the share of landmarks that ended strictly closer than they began."""

    mean: float
    median: float
    max: float
    initial_mean: float
    initial_median: float
    robustness: float
    count: int


def pair_metrics(moving: Points, warped: Points, fixed: Points, diagonal: float) -> PairTRE:
    """rTRE of one pair over the landmarks both lists have.

    Args:
        moving: (N, 2) moving landmarks as annotated, pixels.
        warped: (N, 2) the same carried into the fixed image.
        fixed: (M, 2) fixed landmarks; the first min(N, M) rows are compared, as the challenge does.
        diagonal: of the fixed image, pixels.

    Raises:
        InputError: no landmarks, or ``moving`` and ``warped`` differ in number.
    """
    if len(moving) != len(warped):
        raise InputError(f"{len(moving)} moving landmarks, but {len(warped)} warped ones")
    count = min(len(moving), len(fixed))
    if count == 0:
        raise InputError("no landmarks to compare")
    before = rtre(moving[:count], fixed[:count], diagonal)
    after = rtre(warped[:count], fixed[:count], diagonal)
    return PairTRE(
        mean=float(after.mean()),
        median=float(np.median(after)),
        max=float(after.max()),
        initial_mean=float(before.mean()),
        initial_median=float(np.median(before)),
        robustness=float((after < before).mean()),
        count=count,
    )


@dataclass(frozen=True)
class Aggregate:
    """The challenge's six aggregates over pairs (A average, M median, Mx maximum; outer first), robustness, initial."""

    pairs: int
    initial_AArTRE: float
    AArTRE: float
    AMrTRE: float
    MArTRE: float
    MMrTRE: float
    AMxrTRE: float
    MMxrTRE: float
    robustness: float


def aggregate(pairs: Sequence[PairTRE]) -> Aggregate:
    """Aggregate over pairs.

    Raises:
        InputError: no pairs.
    """
    if not pairs:
        raise InputError("no pairs to aggregate")
    mean, median, maximum = (np.array([getattr(p, key) for p in pairs]) for key in ("mean", "median", "max"))
    return Aggregate(
        pairs=len(pairs),
        initial_AArTRE=float(np.mean([p.initial_mean for p in pairs])),
        AArTRE=float(mean.mean()),
        AMrTRE=float(median.mean()),
        MArTRE=float(np.median(mean)),
        MMrTRE=float(np.median(median)),
        AMxrTRE=float(maximum.mean()),
        MMxrTRE=float(np.median(maximum)),
        robustness=float(np.mean([p.robustness for p in pairs])),
    )
