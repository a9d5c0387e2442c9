"""A registration made finer where more of the slides is worth reading: window by window, at any resolution."""

from __future__ import annotations

from custom_components.refinement.slide_refinement import SlideRefinement
from custom_components.refinement.stored_field import StoredField

__all__ = ["SlideRefinement", "StoredField"]
