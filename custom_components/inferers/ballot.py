"""Displacements that several methods propose for one pair, and what their agreement says about the error."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor

from custom_components.common.arrays import Array
from custom_components.inferers.flow_refinement import Flow, Grey, Moments, Weight, blur, pull
from custom_components.losses.mind import mind_ssc

SCALES = (2, 4)  # voxels, dilations of the descriptors
THINNED = 256  # voxels a side, at least, at which disagreement is looked at
FINEST_WINDOW = 8.0  # voxels, sigma of the window of similarity


@dataclass(frozen=True)
class Ballot:
    """The proposals, on the fixed grid after the affine.

    Attributes:
        flows: K of (H, W, 2) x, y, voxels.
        sure: (K, H, W) 0..1, how well each agrees with itself there and back; 1 for fields of candidates.
        shares: (K, H, W), summing to one per voxel: how they divide a vote.
    """

    flows: Sequence[Flow]
    sure: Weight
    shares: Weight

    @classmethod
    def weighed(cls, flows: Sequence[Flow], sure: Sequence[Weight], shares: Weight) -> Ballot:
        """With shares (K, h, w) that were found on a coarser grid."""
        size = flows[0].shape[:2]
        return cls(flows, np.stack(sure), np.stack([resized(part, size) for part in shares]))

    @classmethod
    def by_similarity(
        cls,
        flows: Sequence[Flow],
        sure: Sequence[Weight],
        pairs: Sequence[tuple[Grey, Grey]],
        sigma: float,
        sharpness: float,
    ) -> Ballot:
        """With shares by the local correlation that each proposal reaches.

        Args:
            flows: K of (H, W, 2).
            sure: K of (H, W).
            pairs: fixed and aligned moving image, (H, W) uint8, of each rendering that similarity is asked of.
            sigma: of its window, voxels.
            sharpness: of the softmax over the mean local correlation.
        """
        # windows of 8 voxels show what larger ones do, at a fraction of the time
        size, factor = flows[0].shape[:2], max(1, round(sigma / FINEST_WINDOW))
        small = (-(-size[0] // factor), -(-size[1] // factor))
        shrunk = np.array([small[1] / size[1], small[0] / size[0]], np.float32)
        ours = [(Moments.of(resized(a, small), sigma / factor), resized(b, small)) for a, b in pairs]
        scores = []
        for flow in flows:
            coarse = resized(flow, small) * shrunk
            warped = [Moments.of(pull(b, coarse).astype(np.uint8), sigma / factor) for _, b in ours]
            found = [a.correlation(b) for (a, _), b in zip(ours, warped, strict=True)]
            scores.append(np.mean(found, axis=0))
        score = np.stack(scores)
        fraction = np.exp(sharpness * (score - score.max(axis=0)))
        return cls.weighed(flows, sure, np.asarray(fraction / fraction.sum(axis=0), np.float32))

    def disagreement(self, flow: Flow) -> Weight:
        """(H, W) voxels: root mean square distance of the proposals from ``flow``, weighed as they voted."""
        weight = _thinned(self.shares) * _thinned(self.sure) + np.float32(1e-6)
        squared = (weight * self._squared_distances(flow)).sum(axis=0) / weight.sum(axis=0)
        return np.asarray(resized(np.sqrt(squared), flow.shape[:2]), dtype=np.float32)

    def spread(self, flow: Flow) -> Weight:
        """(H, W) voxels: the median distance of all proposals from ``flow``, whatever their similarity."""
        median = np.median(np.sqrt(self._squared_distances(flow)), axis=0)  # of an even number a mean of two
        return np.asarray(resized(median, flow.shape[:2]), dtype=np.float32)

    def _squared_distances(self, flow: Flow) -> Weight:
        """(K, h, w) of the proposals from ``flow``, on every so manieth voxel."""
        apart = [_thinned(np.moveaxis(own, 2, 0)) - _thinned(np.moveaxis(flow, 2, 0)) for own in self.flows]
        return np.stack([across**2 + down**2 for across, down in apart])


def _thinned(values: Array) -> Array:
    """(K, H, W) at every so manieth voxel of a large image: what differs between neighbours is blurred anyway."""
    step = max(1, min(values.shape[1:]) // THINNED)
    return values[:, step // 2 :: step, step // 2 :: step]


def resized(values: Array, size: tuple[int, int]) -> Array:
    """(H, W[, C]) on another grid of the same field of view, averaged where that is coarser."""
    if values.shape[:2] == size:
        return values
    how = cv2.INTER_AREA if size[0] < values.shape[0] else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(values, size[::-1], interpolation=how))


class ContrastFree:
    """How far images are from showing the same structures as one of them, blind to the sign of their contrast.

    Args:
        fixed: (1, 1, H, W) in [0, 1], the one.
    """

    def __init__(self, fixed: Tensor) -> None:
        self._described = [described(fixed, dilation) for dilation in SCALES]

    def difference(self, warped: Tensor) -> Weight:
        """(H, W) mean squared difference of the MIND-SSC descriptors at two scales; 0 is best."""
        found = [
            (described(warped, dilation) - own).square().mean(1)[0]
            for dilation, own in zip(SCALES, self._described, strict=True)
        ]
        return np.ascontiguousarray(torch.stack(found).mean(0).cpu().numpy(), np.float32)


def described(image: Tensor, dilation: int) -> Tensor:
    """(1, 4, H, W) MIND-SSC of (1, 1, H, W) in [0, 1]."""
    return mind_ssc(image, 2, dilation, 1e-4)


def contrast_free_distance(warped: Tensor, fixed: Tensor, sigma: float) -> Weight:
    """(H, W) ``ContrastFree.difference`` in a Gaussian window.

    Args:
        warped: (1, 1, H, W) in [0, 1].
        fixed: the same size.
        sigma: of the window, voxels.
    """
    return blur(ContrastFree(fixed).difference(warped), sigma)
