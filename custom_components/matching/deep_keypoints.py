"""Matches of roughly aligned images by deep descriptors of evenly spread points."""

from __future__ import annotations

import torch
from scipy.spatial import cKDTree
from torch import Tensor

from custom_components.common.errors import InputError
from custom_components.matching.affine import fit_affine
from custom_components.matching.candidates import window_points
from custom_components.matching.matcher import check_images
from custom_components.matching.outliers import local_affine, neighbour_consensus
from custom_components.matching.point_descriptor import PointDescriptor, descriptor_similarity
from custom_components.matching.point_pairs import PointPairs

ROWS_AT_ONCE = 1024  # of the similarity matrix
VOUCHERS = 6  # with fewer pairs an affine through them says nothing about any


def ratio_test(
    points: Tensor,
    descriptors: Tensor,
    others: Tensor,
    other_descriptors: Tensor,
    *,
    search_radius: float,
    rival_radius: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """For each point its most similar other point, and the next most similar one that lies elsewhere.

    Args:
        points: (N, 2) row, col, N > 0.
        descriptors: (N, groups, C).
        others: (M, 2), M > 0, in the same frame as ``points``.
        other_descriptors: (M, groups, C).
        search_radius: voxels; others farther from the point are not candidates.
        rival_radius: voxels; candidates nearer to the best one show the same structure and are no rivals.

    Returns:
        index (N,) of the best, its similarity (N,), that of the rival (N,); -inf where there is none.
    """
    parts = []
    for first in range(0, len(points), ROWS_AT_ONCE):
        rows = slice(first, first + ROWS_AT_ONCE)
        found = descriptor_similarity(descriptors[rows], other_descriptors)
        found.masked_fill_(torch.cdist(points[rows], others) > search_radius, -torch.inf)
        best, index = found.max(dim=1)
        found.masked_fill_(torch.cdist(others[index], others) <= rival_radius, -torch.inf)
        parts.append((index, best, found.max(dim=1).values))
    index, best, rival = (torch.cat(column) for column in zip(*parts, strict=True))
    return index, best, rival


def radius_nms(pairs: PointPairs, spacing: float) -> PointPairs:
    """The pairs left when, best score first, each removes those nearer than ``spacing`` voxels in either image."""
    if len(pairs) < 2:
        return pairs
    ordered = pairs.select(pairs.score.argsort(descending=True, stable=True))
    trees = [cKDTree(points.cpu().double().numpy()) for points in (ordered.moving, ordered.fixed)]
    close = {pair for tree in trees for pair in tree.query_pairs(spacing)}
    keep = torch.ones(len(ordered), dtype=torch.bool)
    for better, worse in sorted(close):
        # in this order nothing can still remove the better one
        if keep[better]:
            keep[worse] = False
    return ordered.select(keep)


def add_matches(known: PointPairs, new: PointPairs, radius: float) -> PointPairs:
    """``known`` and behind them the new pairs that are farther than ``radius`` voxels from all of them in both images.

    Source: Wei et al., IEEE TMI 2024; their learned features add matches where the fixed ones found none.
    """
    if len(known) == 0 or len(new) == 0:
        return PointPairs.concatenate([known, new])
    near = [torch.cdist(getattr(new, side), getattr(known, side)).amin(dim=1) <= radius for side in ("moving", "fixed")]
    return PointPairs.concatenate([known, new.select(~(near[0] | near[1]))])


class DeepKeypointMatcher:
    """Corners of both images, matched within a zone where their deep descriptors are alike and without rival.

    Source: Wei et al. (IPCG), IEEE TMI 2024: zone, similarity, ratio and mutual tests, spacing and RANSAC affine. The
    affine allows 2 % of the diagonal instead of 0.5 voxels, as the wanted motion is not affine; the last filter, which
    asks the neighbours, is this project's.

    Args:
        descriptor: of the points.
        search_radius: share of the image's diagonal that a structure may have moved; the images are roughly aligned.
        min_similarity: mean cosine that a pair must exceed.
        ratio: share of the best similarity that a rival must stay below.
        rival_radius: share of the diagonal; candidates nearer to the best one are no rivals.
        spacing: share of the diagonal between any two pairs, in both images.
        residual: share of the diagonal; pairs farther from the robust affine are dropped.
        tolerance: share of the diagonal; pairs that differ more from the motion of their neighbours are dropped. None
            leaves this out.
        window: pixels; see ``window_points``.
        stride: pixels.
        per_window: corners.
        max_points: in each image.

    Raises:
        InputError: a share is negative.
    """

    def __init__(
        self,
        descriptor: PointDescriptor,
        search_radius: float = 0.04,
        min_similarity: float = 0.5,
        ratio: float = 0.98,
        rival_radius: float = 0.008,
        spacing: float = 0.01,
        residual: float = 0.02,
        tolerance: float | None = 0.01,
        window: int = 16,
        stride: int = 8,
        per_window: int = 8,
        max_points: int | None = 4000,
    ) -> None:
        shares = {
            "search_radius": search_radius, "rival_radius": rival_radius, "spacing": spacing, "residual": residual,
        }  # fmt: skip
        for name, fraction in {**shares, "tolerance": tolerance or 0.0}.items():
            if fraction < 0:
                raise InputError(f"{name} is a share of the image's diagonal, 0 or more, got {fraction}")
        self.descriptor = descriptor
        self.search_radius = search_radius
        self.min_similarity = min_similarity
        self.ratio = ratio
        self.rival_radius = rival_radius
        self.spacing = spacing
        self.residual = residual
        self.tolerance = tolerance
        self.window = window
        self.stride = stride
        self.per_window = per_window
        self.max_points = max_points

    def __call__(
        self, moving: Tensor, fixed: Tensor, moving_mask: Tensor | None = None, fixed_mask: Tensor | None = None
    ) -> PointPairs:
        """Match two images; see ``Matcher``.

        Args:
            moving: (1, 1, H, W) in [0, 1].
            fixed: likewise.
            moving_mask: the shape of ``moving``, tissue above 0.5; None takes where the image is above 0.
            fixed_mask: likewise of ``fixed``.

        Returns:
            pairs, most similar first, their score the mean cosine; none where fewer than six agree on an affine.

        Raises:
            InputError: an image is not (1, 1, H, W) or a mask has another shape.
        """
        check_images(moving, fixed)
        diagonal = float(torch.tensor(fixed.shape[2:]).float().norm())
        pairs = self.candidates(moving, fixed, moving_mask, fixed_mask)
        return self._consistent(radius_nms(pairs, self.spacing * diagonal), diagonal)

    def candidates(
        self, moving: Tensor, fixed: Tensor, moving_mask: Tensor | None = None, fixed_mask: Tensor | None = None
    ) -> PointPairs:
        """The pairs that pass the tests of their descriptors, whatever the others do; arguments as ``__call__``."""
        points, descriptors = [], []
        for image, mask in ((moving, moving_mask), (fixed, fixed_mask)):
            found = window_points(
                image,
                mask,
                window=self.window,
                stride=self.stride,
                per_window=self.per_window,
                max_points=self.max_points,
            ).cpu()
            if len(found) == 0:
                return PointPairs.empty()
            points.append(found)
            descriptors.append(self.descriptor(image, found))
        diagonal = float(torch.tensor(fixed.shape[2:]).float().norm())
        forward, good_forward, score = self._tested(points[0], descriptors[0], points[1], descriptors[1], diagonal)
        backward, good_backward, _ = self._tested(points[1], descriptors[1], points[0], descriptors[0], diagonal)
        mutual = backward[forward] == torch.arange(len(forward))
        keep = mutual & good_forward & good_backward[forward]
        return PointPairs(points[0][keep], points[1][forward[keep]], score[keep])

    def _tested(
        self, points: Tensor, descriptors: Tensor, others: Tensor, other_descriptors: Tensor, diagonal: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Index (N,) of the best other point, whether it passes, its similarity."""
        index, best, rival = ratio_test(
            points,
            descriptors,
            others,
            other_descriptors,
            search_radius=self.search_radius * diagonal,
            rival_radius=self.rival_radius * diagonal,
        )
        return index, (best > self.min_similarity) & (rival < self.ratio * best), best

    def _consistent(self, pairs: PointPairs, diagonal: float) -> PointPairs:
        """The pairs near a common affine that move like their neighbours."""
        fit = fit_affine(pairs, self.residual * diagonal) if len(pairs) >= VOUCHERS else None
        if fit is None or fit.count < VOUCHERS:
            return PointPairs.empty()
        pairs = pairs.select(fit.inliers)
        if self.tolerance is not None:
            tolerance = self.tolerance * diagonal
            pairs = pairs.select(neighbour_consensus(pairs, tolerance=tolerance))
            pairs = pairs.select(local_affine(pairs, tolerance=tolerance))
        return pairs
