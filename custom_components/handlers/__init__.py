"""Ignite handlers."""

from __future__ import annotations

from custom_components.handlers.writing import RegistrationWriter, SummaryWriter

__all__ = ["RegistrationWriter", "SummaryWriter"]
