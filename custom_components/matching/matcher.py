"""What a matcher is, and the parts that all detector-based matchers share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from custom_components.common.errors import InputError
from custom_components.matching.point_pairs import PointPairs


class Matcher(Protocol):
    """Finds the same structures in two images.

    Both images are (1, 1, H, W) float in [0, 1], tissue bright on dark; their sizes may differ. Detector-based and
    detector-free matchers (COTR, LoFTR) alike return point pairs in the voxels of the images they were given.
    """

    def __call__(self, moving: Tensor, fixed: Tensor) -> PointPairs:
        """Pairs found, outliers among them."""
        ...


@dataclass(frozen=True)
class Keypoints:
    """Points (N, 2) row, col of one image, their descriptors (N, C) of unit length and their scores (N,)."""

    points: Tensor
    descriptors: Tensor
    scores: Tensor


def check_images(moving: Tensor, fixed: Tensor) -> None:
    """Raise ``InputError`` unless both tensors are (1, 1, H, W)."""
    for name, image in (("moving", moving), ("fixed", fixed)):
        if image.ndim != 4 or image.shape[:2] != (1, 1):
            raise InputError(f"a matcher takes a {name} image (1, 1, H, W), got {tuple(image.shape)}")


def xy_to_row_col(points: Tensor) -> Tensor:
    """(N, 2) x, y pixels of kornia -> (N, 2) row, col."""
    return points.flip(-1)


def mutual_nearest(
    moving: Keypoints,
    fixed: Keypoints,
    *,
    min_similarity: float = 0.0,
    max_displacement: float | None = None,
    ratio: float | None = None,
) -> PointPairs:
    """Pairs whose descriptors are each other's nearest, by cosine similarity.

    Args:
        moving: keypoints of the moving image, N of them.
        fixed: keypoints of the fixed image, M of them.
        min_similarity: pairs below this cosine are dropped.
        max_displacement: pairs farther apart than this many voxels are not candidates at all; for images that are
            already roughly aligned.
        ratio: nearest over second nearest distance, of candidates of the fixed image, that a pair must stay below
            (Lowe, IJCV 2004). None leaves this test out.
    """
    if len(moving.points) == 0 or len(fixed.points) == 0:
        return PointPairs.empty()
    similarity = moving.descriptors @ fixed.descriptors.T
    if max_displacement is not None:
        similarity.masked_fill_(torch.cdist(moving.points, fixed.points) > max_displacement, -torch.inf)
    best, forward = similarity.max(dim=1)
    backward = similarity.argmax(dim=0)
    index = torch.arange(len(forward), device=forward.device)
    keep = (backward[forward] == index) & (best > min_similarity)
    if ratio is not None and len(fixed.points) > 1:  # a single candidate has no rival
        second = similarity.topk(2, dim=1).values[:, 1]
        keep &= 1 - best < ratio**2 * (1 - second)  # the square of unit vectors' distance is 2 - 2 cosine
    return PointPairs(moving.points[keep], fixed.points[forward[keep]], best[keep])
