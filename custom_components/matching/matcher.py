"""What a matcher is, and the parts that all detector-based matchers share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from scipy.spatial import cKDTree
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
    if max_displacement is not None:
        return _nearest_within(moving, fixed, min_similarity, max_displacement, ratio)
    similarity = moving.descriptors @ fixed.descriptors.T
    best, forward = similarity.max(dim=1)
    # of a column the largest value alone: where it lies takes ten times as long, and a row knows where its own lies
    keep = (best >= similarity.amax(dim=0)[forward]) & (best > min_similarity)
    if ratio is not None and len(fixed.points) > 1:  # a single candidate has no rival
        second = similarity.topk(2, dim=1).values[:, 1]
        keep &= 1 - best < ratio**2 * (1 - second)  # the square of unit vectors' distance is 2 - 2 cosine
    chosen = _first_of_each(keep.nonzero()[:, 0], forward)
    return PointPairs(moving.points[chosen], fixed.points[forward[chosen]], best[chosen])


def _nearest_within(
    moving: Keypoints, fixed: Keypoints, min_similarity: float, max_displacement: float, ratio: float | None
) -> PointPairs:
    """``mutual_nearest`` of the few candidates that are near each other, which alone are compared."""
    trees = [cKDTree(points.points.detach().cpu().double().numpy()) for points in (moving, fixed)]
    near = trees[0].sparse_distance_matrix(trees[1], max_displacement, output_type="coo_matrix")
    device = moving.points.device
    row, column = (torch.from_numpy(part.astype(np.int64)).to(device) for part in (near.row, near.col))
    if len(row) == 0:
        return PointPairs.empty()
    similarity = (moving.descriptors[row] * fixed.descriptors[column]).sum(dim=1)
    order = similarity.argsort(descending=True, stable=True)
    order = order[row[order].argsort(stable=True)]  # by rows, in each the best candidate first
    row, column, similarity = row[order], column[order], similarity[order]
    starts = torch.ones_like(row, dtype=torch.bool)
    starts[1:] = row[1:] != row[:-1]
    most = torch.full((len(fixed.points),), -torch.inf, dtype=similarity.dtype, device=device)
    most = most.scatter_reduce(0, column, similarity, "amax")
    keep = starts & (similarity >= most[column]) & (similarity > min_similarity)
    if ratio is not None:
        second = torch.full_like(similarity, -torch.inf)  # a single candidate has no rival
        second[:-1] = torch.where(starts[1:], -torch.inf, similarity[1:])
        keep &= 1 - similarity < ratio**2 * (1 - second)
    chosen = _first_of_each(keep.nonzero()[:, 0], column)
    return PointPairs(moving.points[row[chosen]], fixed.points[column[chosen]], similarity[chosen])


def _first_of_each(chosen: Tensor, number: Tensor) -> Tensor:
    """Those of the indices whose ``number`` none before them has: several are as near only where they are equal."""
    _, first = np.unique(number[chosen].cpu().numpy(), return_index=True)
    return chosen[torch.from_numpy(np.sort(first)).to(chosen.device)]
