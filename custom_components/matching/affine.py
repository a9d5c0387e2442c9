"""A robust affine through point pairs."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor

from custom_components.common.arrays import Matrix
from custom_components.matching.point_pairs import PointPairs


@dataclass(frozen=True)
class AffineFit:
    """An affine and its evidence.

    Attributes:
        matrix: (3, 3), maps homogeneous (row, col) voxels of the FIXED image to the moving image.
        inliers: (N,) bool, the pairs that agree with it.
        residual: median distance of the inliers to the model, in voxels of the moving image.
    """

    matrix: Matrix
    inliers: Tensor
    residual: float

    @property
    def count(self) -> int:
        """Number of inliers."""
        return int(self.inliers.sum())


def apply_affine(matrix: Matrix, points: Tensor) -> Tensor:
    """(N, D) points through a homogeneous (D+1, D+1) matrix."""
    m = torch.from_numpy(matrix).to(points)
    return points @ m[:-1, :-1].T + m[:-1, -1]


def fit_affine(pairs: PointPairs, threshold: float) -> AffineFit | None:
    """MAGSAC++ affine, fixed -> moving; None when fewer than 4 pairs or no model is found.

    Args:
        pairs: candidate pairs, outliers among them.
        threshold: distance in voxels beyond which a pair is an outlier.
    """
    if len(pairs) < 4:
        return None
    fixed, moving = (p.cpu().double().numpy() for p in (pairs.fixed, pairs.moving))
    cv2.setRNGSeed(0)  # OpenCV's sampler is global; the same pairs must give the same affine
    model, inliers = cv2.estimateAffine2D(
        fixed,
        moving,
        method=cv2.USAC_MAGSAC,
        ransacReprojThreshold=threshold,
        maxIters=5000,
        confidence=0.999,
    )
    if model is None or not np.isfinite(model).all() or inliers.sum() < 4:
        return None
    matrix = np.vstack([model, [0.0, 0.0, 1.0]])
    keep = torch.from_numpy(inliers.ravel().astype(bool))
    error = (apply_affine(matrix, pairs.fixed.double()) - pairs.moving.double()).norm(dim=1)
    return AffineFit(matrix, keep, float(error[keep].median()))


def refine_affine(pairs: PointPairs, matrix: Matrix, scale: float, least: float = 1.0, rounds: int = 20) -> Matrix:
    """The affine that most of the pairs near a given one agree on, by reweighted least squares (Geman-McClure).

    The scale is halved from round to round until it is twice the median residual of the pairs that count.

    Args:
        pairs: at least 4, not all on a line; outliers among them.
        matrix: (3, 3) voxels, fixed -> moving, where the search starts.
        scale: residual at which a pair has a quarter of its weight at the start, voxels of the moving image.
        least: the smallest scale, voxels.
        rounds: at most this many.

    Returns:
        (3, 3); ``matrix`` where the pairs near it determine none.
    """
    fixed, moving = (p.cpu().double().numpy() for p in (pairs.fixed, pairs.moving))
    homogeneous = np.concatenate([fixed, np.ones_like(fixed[:, :1])], axis=1)
    found = np.asarray(matrix, np.float64)
    for _ in range(rounds):
        residual = np.linalg.norm(homogeneous @ found[:2].T - moving, axis=1)
        near = residual < 2 * scale
        if near.sum() < 4:
            return found
        weight = 1 / (1 + (residual / scale) ** 2)  # the root of what stands in the normal equations
        solution, _, rank, _ = np.linalg.lstsq(homogeneous * weight[:, None], moving * weight[:, None], rcond=None)
        if rank < 3:
            return found
        found = np.vstack([solution.T, [0.0, 0.0, 1.0]])
        scale = max(scale / 2, 2 * float(np.median(residual[near])), least)
    return found
