"""OpenCV's DIS optical flow, the baseline that every bundle is compared with.

DIS (Kroeger et al., "Fast Optical Flow using Dense Inverse Search", ECCV 2016) needs no training and takes
some 50 ms for two images of 512 px, so a registration method has to earn its time against it. DIS only
bridges small displacements: images that are not aligned yet go through `xfeat_baseline.xfeat_affine` first.
"""

from __future__ import annotations

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

# Chosen on the 200 training pairs of ANHIR at 512 px; values from 4 to 40 differ by less than 4 % in AArTRE.
CLIP_LIMIT = 10.0
TILES = 8

Bytes = NDArray[np.uint8]


def grey(image: NDArray[np.generic]) -> Bytes:
    """Inverted luminance, so that tissue is bright on a dark ground whatever its stain.

    Args:
        image: (C, H, W) with C = 1 or 3, or (H, W); uint8, or any other type with values in its own range.

    Returns:
        (H, W) uint8.
    """
    planes = np.asarray(image, np.float64)
    planes = planes[None] if planes.ndim == 2 else planes
    if planes.shape[0] == 3:
        planes = np.tensordot([0.299, 0.587, 0.114], planes, axes=1)[None]
    plane = planes.mean(axis=0)
    if image.dtype != np.uint8:
        low, high = float(plane.min()), float(plane.max())
        plane = (plane - low) / max(high - low, 1e-12) * 255
    return np.asarray(255 - np.clip(np.rint(plane), 0, 255), np.uint8)


def dis_ddf(moving_grey: Bytes, fixed_grey: Bytes) -> Tensor:
    """Displacement field by DIS optical flow (preset medium) after CLAHE.

    To carry MOVING points into the fixed image, swap the arguments and look the result up at these points:
    `dis_ddf(fixed, moving)` lives on the moving grid and points into the fixed image.

    Args:
        moving_grey: (H, W) uint8.
        fixed_grey: (H, W) uint8, same shape.

    Returns:
        (1, 2, H, W) float32, voxels, (row, col), on the fixed grid pointing into the moving image.

    Raises:
        ValueError: the shapes differ.
    """
    if moving_grey.shape != fixed_grey.shape:
        raise ValueError(f"DIS needs images of one size, got moving {moving_grey.shape}, fixed {fixed_grey.shape}")
    clahe = cv2.createCLAHE(CLIP_LIMIT, (TILES, TILES))
    dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    start = np.zeros((*fixed_grey.shape, 2), np.float32)
    # calc(a, b) gives v with a(x) = b(x + v(x)): on the grid of a, pointing into b; components x, y.
    flow = dis.calc(clahe.apply(fixed_grey), clahe.apply(moving_grey), start)
    return torch.from_numpy(flow[..., ::-1].transpose(2, 0, 1).copy())[None]
