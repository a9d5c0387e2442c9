"""Studies: which similarity and which lambda suit a kind of image, from training to tables and figures."""

from __future__ import annotations

from custom_components.studies.methods import CONFIGS, Method, keys_of, method_of, options_of
from custom_components.studies.noise import noise_study
from custom_components.studies.plotting import StudyFigures
from custom_components.studies.runs import (
    evaluate,
    known_to_evaluate,
    registered,
    train,
    train_and_register,
    unregistered,
)
from custom_components.studies.saliency_pictures import SaliencyPictures
from custom_components.studies.smoothness import SmoothnessGrid
from custom_components.studies.tables import holm, markdown, significance, write_tables

__all__ = [
    "CONFIGS",
    "Method",
    "SaliencyPictures",
    "SmoothnessGrid",
    "StudyFigures",
    "evaluate",
    "holm",
    "keys_of",
    "known_to_evaluate",
    "markdown",
    "method_of",
    "noise_study",
    "options_of",
    "registered",
    "significance",
    "train",
    "train_and_register",
    "unregistered",
    "write_tables",
]
