"""Functions that judge a registration, and thin MONAI and Ignite wrappers around them."""

from __future__ import annotations

from custom_components.metrics.acrobat import (
    AcrobatScore,
    PairError,
    acrobat_score,
    annotator_error,
    fill_missing,
    pair_error,
)
from custom_components.metrics.dice import dice_per_label
from custom_components.metrics.ignite import LandmarkError, LandmarkErrorHandler
from custom_components.metrics.tre import (
    Aggregate,
    PairTRE,
    VolumeTRE,
    aggregate,
    pair_metrics,
    rtre,
    tre,
    volume_metrics,
)

__all__ = [
    "AcrobatScore",
    "Aggregate",
    "LandmarkError",
    "LandmarkErrorHandler",
    "PairError",
    "PairTRE",
    "VolumeTRE",
    "acrobat_score",
    "aggregate",
    "annotator_error",
    "dice_per_label",
    "fill_missing",
    "pair_error",
    "pair_metrics",
    "rtre",
    "tre",
    "volume_metrics",
]
