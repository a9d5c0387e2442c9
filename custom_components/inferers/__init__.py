"""Inferers: a pair of images in, a displacement field out."""

from __future__ import annotations

from custom_components.inferers.result import Registration, Stage

__all__ = ["Registration", "Stage"]
