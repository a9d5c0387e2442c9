"""Ignite engines."""

from __future__ import annotations

from custom_components.engines.cluster import Cluster
from custom_components.engines.devices import check_device
from custom_components.engines.field_records import field_records
from custom_components.engines.keypoint_pairs import KeypointPairs
from custom_components.engines.level_optimizers import level_optimizers, level_schedulers
from custom_components.engines.matched_crops import MatchedCrops, annotated, build_sources, pseudo_labels
from custom_components.engines.pair_evaluator import PairDataset, PairEvaluator, pair_dataset
from custom_components.engines.patch_trainer import GradientExchange, PatchTrainer
from custom_components.engines.run_folder import run_folder, training_record
from custom_components.engines.staged_training import StagedTraining, TrainingStage
from custom_components.engines.training_pairs import build_records, single_images, stacked_pairs, training_pairs

__all__ = [
    "Cluster",
    "GradientExchange",
    "KeypointPairs",
    "MatchedCrops",
    "PairDataset",
    "PairEvaluator",
    "PatchTrainer",
    "StagedTraining",
    "TrainingStage",
    "annotated",
    "build_records",
    "build_sources",
    "check_device",
    "field_records",
    "level_optimizers",
    "level_schedulers",
    "pair_dataset",
    "pseudo_labels",
    "run_folder",
    "single_images",
    "stacked_pairs",
    "training_pairs",
    "training_record",
]
