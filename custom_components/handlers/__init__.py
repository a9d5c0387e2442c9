"""Ignite handlers."""

from __future__ import annotations

from custom_components.handlers.training import (
    EpochSetter,
    SchedulerSteps,
    TrainingCheckpoint,
    TrainingCurve,
    losses_of,
)
from custom_components.handlers.writing import RegistrationWriter, SummaryWriter

__all__ = [
    "EpochSetter",
    "RegistrationWriter",
    "SchedulerSteps",
    "SummaryWriter",
    "TrainingCheckpoint",
    "TrainingCurve",
    "losses_of",
]
