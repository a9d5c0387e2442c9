"""Ignite engines."""

from __future__ import annotations

from custom_components.engines.level_optimizers import level_optimizers, level_schedulers
from custom_components.engines.pair_evaluator import PairDataset, PairEvaluator, PairOutcome, pair_dataset, reason_of
from custom_components.engines.patch_trainer import GradientExchange, PatchTrainer
from custom_components.engines.training_pairs import training_pairs

__all__ = [
    "GradientExchange",
    "PairDataset",
    "PairEvaluator",
    "PairOutcome",
    "PatchTrainer",
    "level_optimizers",
    "level_schedulers",
    "pair_dataset",
    "reason_of",
    "training_pairs",
]
