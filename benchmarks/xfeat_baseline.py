"""XFeat matches and a robust affine: the baseline for raw colour pairs, before DIS optical flow.

4096 XFeat keypoints an image (Potje et al., CVPR 2024; kornia), mutual nearest neighbours, MAGSAC.
"""

from __future__ import annotations

import cv2
import numpy as np
import torch
from kornia.feature import XFeat
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.dis_baseline import Bytes
from custom_components.common.weights import load_state
from custom_components.matching.weights import load

Floats = NDArray[np.float64]

# Of 3, 5, 8, 15 and 25 px the best on raw pairs of 900 px, in favour of the baseline: sections deform, so a
# tight threshold fits the affine to one part of the tissue.
INLIER_PIXELS = 25.0


def load_xfeat() -> XFeat:
    """Kornia's XFeat with its own settings and the published weights.

    Raises:
        InputError: the weights are not installed.
    """
    model = XFeat(top_k=4096)
    load_state(model.net, "xfeat", {name.removeprefix("net."): value for name, value in load("xfeat").items()})
    return model.eval()


def xfeat_affine(model: XFeat, moving: NDArray[np.generic], fixed: NDArray[np.generic]) -> Floats:
    """Affine from XFeat matches; the images must stand roughly upright, XFeat knows no rotation.

    Args:
        model: from `load_xfeat`.
        moving: (C, H, W), C = 1 or 3, uint8.
        fixed: (C, H', W'), likewise.

    Returns:
        (2, 3) float64, (row, col), moving -> fixed.

    Raises:
        ValueError: no affine is supported by three matches or more.
    """
    moving_points, moving_descriptors = _keypoints(model, moving)
    fixed_points, fixed_descriptors = _keypoints(model, fixed)
    in_moving, in_fixed = mutual_matches(moving_descriptors, fixed_descriptors)
    return robust_affine(moving_points[in_moving.numpy()], fixed_points[in_fixed.numpy()])


def _keypoints(model: XFeat, image: NDArray[np.generic]) -> tuple[Floats, Tensor]:
    """Points (N, 2), (row, col), and descriptors (N, 64) of a (C, H, W) image."""
    tensor = torch.from_numpy(np.ascontiguousarray(image)).float()[None] / 255
    with torch.inference_mode():
        found = model.detectAndCompute(tensor.expand(1, 3, -1, -1))[0]
    return found["keypoints"].numpy()[:, ::-1].astype(np.float64), found["descriptors"]


def mutual_matches(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """Indices of descriptors that are each other's nearest by cosine.

    Args:
        first: (N, D), unit length.
        second: (M, D), unit length.

    Returns:
        Two index tensors (K,), into `first` and into `second`.
    """
    similarity = first @ second.T
    forward, backward = similarity.argmax(dim=1), similarity.argmax(dim=0)
    index = torch.arange(len(first), device=first.device)
    mutual = backward[forward] == index
    return index[mutual], forward[mutual]


def robust_affine(moving_points: Floats, fixed_points: Floats, threshold: float = INLIER_PIXELS) -> Floats:
    """Affine matrix by MAGSAC (as OpenCV implements it) from matches with many outliers.

    Args:
        moving_points: (N, 2) float, (row, col).
        fixed_points: (N, 2) float, (row, col).
        threshold: pixels; the largest residual of an inlier.

    Returns:
        (2, 3) float64, (row, col), moving -> fixed.

    Raises:
        ValueError: no affine is supported by three matches or more.
    """
    matrix = None
    if len(moving_points) >= 3:
        cv2.setRNGSeed(0)
        matrix, _ = cv2.estimateAffine2D(
            moving_points[:, ::-1].copy(),
            fixed_points[:, ::-1].copy(),
            method=cv2.USAC_MAGSAC,
            ransacReprojThreshold=threshold,
            maxIters=20000,
            confidence=0.9999,
        )
    if matrix is None:
        raise ValueError(f"no affine fits the {len(moving_points)} matches")
    return swap_axes(np.asarray(matrix, np.float64))


def swap_axes(matrix: Floats) -> Floats:
    """Turn a (2, 3) affine between (x, y) and (row, col) order; it is its own inverse."""
    return np.asarray(matrix, np.float64)[::-1][:, [1, 0, 2]].copy()


def apply_affine(matrix: Floats, points: Floats) -> Floats:
    """Apply a (2, 3) affine to (N, 2) points of the same axis order."""
    return np.asarray(points @ matrix[:, :2].T + matrix[:, 2])


def warp_to_fixed(moving_grey: Bytes, matrix: Floats, shape: tuple[int, int]) -> Bytes:
    """Moving image in a frame of `shape` (rows, cols); `matrix` (2, 3) is moving -> fixed, (row, col)."""
    size = (shape[1], shape[0])
    warped = cv2.warpAffine(moving_grey, swap_axes(matrix), size, flags=cv2.INTER_LINEAR, borderValue=(0.0,))
    return np.asarray(warped, np.uint8)
