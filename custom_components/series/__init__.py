"""More than two sections of a block, all in the frame of one of them."""

from __future__ import annotations

from custom_components.series.aligning import align_series
from custom_components.series.sections import Section, read_sections

__all__ = ["Section", "align_series", "read_sections"]
