"""Inferers: a pair of images in, a displacement field out."""

from __future__ import annotations

from custom_components.inferers.affine_alignment import AffineAlignment
from custom_components.inferers.chain import Chain
from custom_components.inferers.flow_refinement import FlowRefinement
from custom_components.inferers.hybrid_matching import HybridMatching
from custom_components.inferers.interpolation import ScatteredInterpolation, SplineInterpolation
from custom_components.inferers.result import Estimate, PairImages, Registration, Stage, Step

__all__ = [
    "AffineAlignment",
    "Chain",
    "Estimate",
    "FlowRefinement",
    "HybridMatching",
    "PairImages",
    "Registration",
    "ScatteredInterpolation",
    "SplineInterpolation",
    "Stage",
    "Step",
]
