"""Studies: which similarity and which lambda suit a kind of image, from training to tables and figures."""

from __future__ import annotations

from custom_components.experiments.methods import CONFIGS, Method, parse_method, parse_options, read_keys
from custom_components.experiments.noise import noise_study
from custom_components.experiments.plotting import StudyFigures
from custom_components.experiments.runs import (
    evaluate,
    known_to_evaluate,
    registered,
    train,
    train_and_register,
    unregistered,
)
from custom_components.experiments.saliency_pictures import SaliencyPictures
from custom_components.experiments.smoothness import SmoothnessGrid
from custom_components.experiments.tables import holm, markdown, significance, write_tables

__all__ = [
    "CONFIGS",
    "Method",
    "SaliencyPictures",
    "SmoothnessGrid",
    "StudyFigures",
    "evaluate",
    "holm",
    "known_to_evaluate",
    "markdown",
    "noise_study",
    "parse_method",
    "parse_options",
    "read_keys",
    "registered",
    "significance",
    "train",
    "train_and_register",
    "unregistered",
    "write_tables",
]
