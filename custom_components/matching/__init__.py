"""Keypoints, matchers and outlier rejection."""

from __future__ import annotations

from custom_components.matching.cache import CachedMatcher, fingerprint
from custom_components.matching.candidates import window_points
from custom_components.matching.cotr import COTRMatcher, trained_cotr, with_xfeat
from custom_components.matching.deep_keypoints import DeepKeypointMatcher, add_matches
from custom_components.matching.learned import LearnedMatching
from custom_components.matching.lightglue import LightGlueMatcher
from custom_components.matching.loftr import LoFTRMatcher
from custom_components.matching.matcher import Keypoints, Matcher
from custom_components.matching.patch_descriptors import EncoderDescriptor
from custom_components.matching.point_descriptor import PointDescriptor, XFeatDescriptor
from custom_components.matching.point_pairs import PointPairs
from custom_components.matching.pyramid_descriptor import PyramidDescriptor
from custom_components.matching.sift import SIFTMatcher
from custom_components.matching.super_glue import SuperGlueMatcher, SuperPointDetector, SuperPointMatcher
from custom_components.matching.vgg import VGGPatchDescriptor
from custom_components.matching.xfeat import XFeatMatcher

__all__ = [
    "COTRMatcher",
    "CachedMatcher",
    "DeepKeypointMatcher",
    "EncoderDescriptor",
    "Keypoints",
    "LearnedMatching",
    "LightGlueMatcher",
    "LoFTRMatcher",
    "Matcher",
    "PointDescriptor",
    "PointPairs",
    "PyramidDescriptor",
    "SIFTMatcher",
    "SuperGlueMatcher",
    "SuperPointDetector",
    "SuperPointMatcher",
    "VGGPatchDescriptor",
    "XFeatDescriptor",
    "XFeatMatcher",
    "add_matches",
    "fingerprint",
    "trained_cotr",
    "window_points",
    "with_xfeat",
]
