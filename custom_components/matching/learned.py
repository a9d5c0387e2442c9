"""Matchers made of registration networks in training."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from custom_components.matching.cache import CachedMatcher
from custom_components.matching.deep_keypoints import DeepKeypointMatcher
from custom_components.matching.patch_descriptors import PyramidNetwork
from custom_components.matching.point_descriptor import PointDescriptor


class LearnedMatching:
    """Makes a matcher of a network: its encoder describes the points.

    Args:
        descriptor: makes a descriptor of a network, such as ``PyramidDescriptor`` or ``EncoderDescriptor``.
        folder: of the results, see ``CachedMatcher``; None keeps nothing.
        tests: arguments of ``DeepKeypointMatcher``.
    """

    def __init__(
        self,
        descriptor: Callable[[PyramidNetwork], PointDescriptor],
        folder: str | Path | None = None,
        **tests: Any,
    ) -> None:
        self.descriptor = descriptor
        self.folder = folder
        self.tests = tests

    def __call__(self, network: PyramidNetwork) -> CachedMatcher:
        """A matcher with the network's weights of the moment."""
        return CachedMatcher(DeepKeypointMatcher(self.descriptor(network), **self.tests), self.folder)
