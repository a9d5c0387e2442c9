"""Functions that judge a registration, and thin MONAI and Ignite wrappers around them."""

from __future__ import annotations

from custom_components.metrics.dice import dice_per_label
from custom_components.metrics.ignite import LandmarkError, LandmarkErrorHandler
from custom_components.metrics.tre import Aggregate, PairTRE, aggregate, pair_metrics, rtre, tre

__all__ = [
    "Aggregate",
    "LandmarkError",
    "LandmarkErrorHandler",
    "PairTRE",
    "aggregate",
    "dice_per_label",
    "pair_metrics",
    "rtre",
    "tre",
]
