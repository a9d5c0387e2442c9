"""Ignite engines."""

from __future__ import annotations

from custom_components.engines.pair_evaluator import PairDataset, PairEvaluator, PairOutcome, pair_dataset, reason_of

__all__ = ["PairDataset", "PairEvaluator", "PairOutcome", "pair_dataset", "reason_of"]
