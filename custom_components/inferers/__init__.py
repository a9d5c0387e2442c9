"""Inferers: a pair of images in, a displacement field out."""

from __future__ import annotations

from custom_components.inferers.affine_alignment import AffineAlignment
from custom_components.inferers.affine_network import AffineNetwork
from custom_components.inferers.all_levels import AllLevels, AllPredictions
from custom_components.inferers.chain import Chain
from custom_components.inferers.consensus import Consensus
from custom_components.inferers.demons import DiffeomorphicDemons
from custom_components.inferers.direct_field import DirectField
from custom_components.inferers.flow_refinement import FlowRefinement
from custom_components.inferers.hybrid_matching import HybridMatching
from custom_components.inferers.instance_optimisation import InstanceOptimisation
from custom_components.inferers.interpolation import ScatteredInterpolation, SplineInterpolation
from custom_components.inferers.network_field import NetworkField
from custom_components.inferers.optical_flow import OpticalFlow
from custom_components.inferers.patch_pyramid import PatchPyramid
from custom_components.inferers.piece_alignment import PieceAlignment
from custom_components.inferers.result import Base, Estimate, PairImages, Registration, Stage, Step
from custom_components.inferers.rotation_search import RotationSearch
from custom_components.inferers.syn import SyN

__all__ = [
    "AffineAlignment",
    "AffineNetwork",
    "AllLevels",
    "AllPredictions",
    "Base",
    "Chain",
    "Consensus",
    "DiffeomorphicDemons",
    "DirectField",
    "Estimate",
    "FlowRefinement",
    "HybridMatching",
    "InstanceOptimisation",
    "NetworkField",
    "OpticalFlow",
    "PairImages",
    "PatchPyramid",
    "PieceAlignment",
    "Registration",
    "RotationSearch",
    "ScatteredInterpolation",
    "SplineInterpolation",
    "Stage",
    "Step",
    "SyN",
]
