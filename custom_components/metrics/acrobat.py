"""Point errors as the ACROBAT challenge scores them (Weitz et al., Medical Image Analysis 2024), in micrometres.

Two annotators marked each point in the fixed image (H&E), so an error is the mean of two distances. The challenge of
2022 ranked by the median over pairs of each pair's 90th percentile, the one of 2023 by its mean; lower is better.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from custom_components.common.arrays import Points
from custom_components.common.errors import InputError


def fill_missing(warped: Points, unregistered: Points) -> Points:
    """Submitted positions, those that are not finite replaced by the unregistered ones.

    Args:
        warped: (N, 2) moving points carried into the fixed image, micrometres; NaN where none was submitted.
        unregistered: (N, 2) the points' positions in the moving image, micrometres.

    Returns:
        (N, 2) micrometres.
    """
    known = np.isfinite(warped).all(axis=1, keepdims=True)
    return np.asarray(np.where(known, warped, unregistered))


def annotator_error(warped: Points, annotators: Sequence[Points], extent: Points) -> npt.NDArray[np.float64]:
    """Mean distance of each point to where the annotators saw it, the point clipped to the fixed image before.

    Args:
        warped: (N, 2) moving points carried into the fixed image, micrometres.
        annotators: each (N, 2), the same points as one annotator placed them in the fixed image, micrometres.
        extent: (N, 2) size of the fixed image, micrometres, in the axis order of the points.

    Returns:
        (N,) micrometres.

    Raises:
        InputError: the shapes differ, there is no annotator, or a number is not finite.
    """
    if not annotators:
        raise InputError("no annotator to compare with")
    for points in (*annotators, extent):
        if points.shape != warped.shape:
            raise InputError(f"arrays differ in shape: warped points {warped.shape}, another {points.shape}")
    if not all(np.isfinite(values).all() for values in (warped, extent, *annotators)):
        raise InputError("a position is not finite; fill missing points first")
    clipped = np.clip(warped, 0, extent)
    distances = [np.linalg.norm(clipped - points, axis=1) for points in annotators]
    return np.asarray(np.mean(distances, axis=0))


@dataclass(frozen=True)
class PairError:
    """Errors of one pair, micrometres: 90th percentile and mean over ``count`` points."""

    p90: float
    mean: float
    count: int


def pair_error(errors: npt.NDArray[np.float64]) -> PairError:
    """Summary of one pair; the percentile is numpy's default, linear between the points.

    Args:
        errors: (N,) micrometres.

    Raises:
        InputError: no points.
    """
    if len(errors) == 0:
        raise InputError("no points to score")
    return PairError(float(np.percentile(errors, 90)), float(np.mean(errors)), len(errors))


@dataclass(frozen=True)
class AcrobatScore:
    """Over pairs, micrometres (the variance their square); variance and deviation are those of the population."""

    pairs: int
    median_p90: float
    mean_p90: float
    variance_p90: float
    std_p90: float
    two_std_p90: float
    mean_of_means: float


def acrobat_score(pairs: Sequence[PairError]) -> AcrobatScore:
    """Aggregate over pairs.

    Raises:
        InputError: no pairs.
    """
    if not pairs:
        raise InputError("no pairs to score")
    p90 = np.array([pair.p90 for pair in pairs])
    return AcrobatScore(
        pairs=len(pairs),
        median_p90=float(np.median(p90)),
        mean_p90=float(p90.mean()),
        variance_p90=float(p90.var()),
        std_p90=float(p90.std()),
        two_std_p90=float(2 * p90.std()),
        mean_of_means=float(np.mean([pair.mean for pair in pairs])),
    )
