"""Ignite engines."""

from __future__ import annotations

from custom_components.engines.pair_evaluator import PairEvaluator, PairOutcome, pair_dataset

__all__ = ["PairEvaluator", "PairOutcome", "pair_dataset"]
