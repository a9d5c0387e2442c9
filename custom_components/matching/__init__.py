"""Keypoints, matchers and outlier rejection."""

from __future__ import annotations

from custom_components.matching.point_pairs import PointPairs

__all__ = ["PointPairs"]
