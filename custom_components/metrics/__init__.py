"""Pure functions that judge a registration."""

from __future__ import annotations

from custom_components.metrics.dice import dice_per_label
from custom_components.metrics.tre import Aggregate, PairTRE, aggregate, pair_metrics, rtre, tre

__all__ = ["Aggregate", "PairTRE", "aggregate", "dice_per_label", "pair_metrics", "rtre", "tre"]
