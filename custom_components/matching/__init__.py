"""Keypoints, matchers and outlier rejection."""

from __future__ import annotations

from custom_components.matching.lightglue import LightGlueMatcher
from custom_components.matching.matcher import Keypoints, Matcher
from custom_components.matching.point_pairs import PointPairs
from custom_components.matching.sift import SIFTMatcher
from custom_components.matching.xfeat import XFeatMatcher

__all__ = ["Keypoints", "LightGlueMatcher", "Matcher", "PointPairs", "SIFTMatcher", "XFeatMatcher"]
