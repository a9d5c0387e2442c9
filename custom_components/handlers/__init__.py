"""Ignite handlers."""

from __future__ import annotations

from custom_components.handlers.stop import StopWhenFlat
from custom_components.handlers.tensorboard import no_tensorboard
from custom_components.handlers.training import (
    EpochSetter,
    FinalModel,
    SchedulerSteps,
    TrainingCheckpoint,
    TrainingCurve,
    select_losses,
)
from custom_components.handlers.writing import RegistrationWriter, SummaryWriter

__all__ = [
    "EpochSetter",
    "FinalModel",
    "RegistrationWriter",
    "SchedulerSteps",
    "StopWhenFlat",
    "SummaryWriter",
    "TrainingCheckpoint",
    "TrainingCurve",
    "no_tensorboard",
    "select_losses",
]
