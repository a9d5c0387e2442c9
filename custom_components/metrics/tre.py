"""Target registration error as the ANHIR challenge defines it (Borovec et al., IEEE TMI 2020)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from custom_components.common.arrays import Points
from custom_components.common.errors import InputError


def tre(warped: Points, fixed: Points) -> npt.NDArray[np.float64]:
    """Distances between warped moving landmarks and fixed landmarks.

    Args:
        warped: (N, D) moving landmarks carried into the fixed image, pixels.
        fixed: (N, D) fixed landmarks, pixels.

    Returns:
        (N,) pixels of the fixed image.

    Raises:
        InputError: the shapes differ, or a coordinate is not finite.
    """
    if warped.shape != fixed.shape:
        raise InputError(f"landmarks differ in shape: warped {warped.shape}, fixed {fixed.shape}")
    for name, points in (("warped", warped), ("fixed", fixed)):
        bad = int((~np.isfinite(points).all(axis=1)).sum())
        if bad:
            raise InputError(f"{bad} of {len(points)} {name} landmarks are not finite")
    return np.asarray(np.linalg.norm(np.subtract(warped, fixed, dtype=np.float64), axis=1))


def rtre(warped: Points, fixed: Points, diagonal: float) -> npt.NDArray[np.float64]:
    """TRE relative to the size of the fixed image.

    Args:
        warped: (N, D) moving landmarks carried into the fixed image, pixels.
        fixed: (N, D) fixed landmarks, pixels.
        diagonal: of the fixed image, pixels.

    Returns:
        (N,) share of the diagonal.

    Raises:
        InputError: the landmarks are no match (see ``tre``), or the diagonal is not positive.
    """
    if not diagonal > 0:
        raise InputError(f"the diagonal of the fixed image must be positive, got {diagonal}")
    return tre(warped, fixed) / diagonal


@dataclass(frozen=True)
class PairTRE:
    """The rTRE of one pair before (``initial_``) and after registration, over ``count`` landmarks.

    ``robustness`` is the share of landmarks that ended strictly closer than they began.
    """

    mean: float
    median: float
    max: float
    initial_mean: float
    initial_median: float
    robustness: float
    count: int


def pair_metrics(moving: Points, warped: Points, fixed: Points, diagonal: float) -> PairTRE:
    """The rTRE of one pair over the landmarks both lists have.

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
    return PairTRE(**_figures(before, after))


def _figures(before: Points, after: Points) -> dict[str, Any]:
    """What both kinds of pairs state of (N,) errors before and after registration."""
    return {
        "mean": float(after.mean()), "median": float(np.median(after)), "max": float(after.max()),
        "initial_mean": float(before.mean()), "initial_median": float(np.median(before)),
        "robustness": float((after < before).mean()), "count": len(before),
    }  # fmt: skip


@dataclass(frozen=True)
class VolumeTRE:
    """The TRE of a pair of volumes before (``initial_``) and after registration, over ``count`` landmarks.

    Lengths are in ``unit``, "millimetre", or "voxel" of volumes that state no spacing; ``robustness`` is the share of
    landmarks that ended strictly closer than they began.
    """

    unit: str
    mean: float
    median: float
    max: float
    initial_mean: float
    initial_median: float
    robustness: float
    count: int


def volume_metrics(moving: Points, warped: Points, fixed: Points, unit: str) -> VolumeTRE:
    """The TRE of one pair of volumes.

    Args:
        moving: (N, 3) moving landmarks as annotated, physical coordinates in ``unit``.
        warped: (N, 3) the same carried into the fixed volume.
        fixed: (N, 3) fixed landmarks.
        unit: of all.

    Raises:
        InputError: no landmarks, or their numbers differ.
    """
    if len(moving) == 0:
        raise InputError("no landmarks to compare")
    before, after = tre(moving, fixed), tre(warped, fixed)
    return VolumeTRE(unit=unit, **_figures(before, after))


@dataclass(frozen=True)
class Aggregate:
    """The challenge's aggregates over pairs, with the number of pairs, the initial error and the robustness.

    A is the average, M the median, Mx the maximum: the first letter over pairs, the next over a pair's
    landmarks.
    """

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
