"""Points that a descriptor is asked about: corners, spread over the tissue by a grid of windows."""

from __future__ import annotations

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from custom_components.common.errors import InputError


def corner_response(image: Tensor, block: int = 3) -> Tensor:
    """Smaller eigenvalue of the structure tensor (Shi and Tomasi, CVPR 1994) where it is a local maximum, else 0.

    Args:
        image: (1, 1, H, W).
        block: pixels a side over which the tensor is averaged.

    Returns:
        (H, W) float32, on the CPU.
    """
    array = np.ascontiguousarray(image[0, 0].detach().float().cpu().numpy())
    response = cv2.cornerMinEigenVal(array, block)
    highest = cv2.dilate(response, np.ones((3, 3), np.uint8))
    return torch.from_numpy(np.where(response >= highest, response, np.float32(0)))


def window_points(
    image: Tensor,
    mask: Tensor | None = None,
    *,
    window: int = 16,
    stride: int = 8,
    per_window: int = 1,
    max_points: int | None = 4000,
    block: int = 3,
    quality: float = 1e-4,
) -> Tensor:
    """The strongest corners of every window that shows tissue, each once.

    Source: the window grid of the keypoint-guided method (Wei et al., IEEE TMI 2024), which asks ORB in each window;
    Shi-Tomasi corners are found in one go and, having no octaves, lie where they are seen.

    Args:
        image: (1, 1, H, W) in [0, 1].
        mask: the same shape, tissue above 0.5; points lie on it. None takes where the image is above 0.
        window: pixels a side.
        stride: pixels between windows; half a window finds the corners that a border cuts off.
        per_window: corners taken of each window.
        max_points: keep at most this many: of every neighbourhood first its strongest. None keeps all.
        block: see ``corner_response``.
        quality: weaker corners than this share of the strongest are none.

    Returns:
        (N, 2) float32 row, col, on the image's device, in the order of rows.

    Raises:
        InputError: image or mask is not (1, 1, H, W), or a size is below 1.
    """
    if image.ndim != 4 or image.shape[:2] != (1, 1):
        raise InputError(f"corners are sought in an image (1, 1, H, W), got {tuple(image.shape)}")
    if mask is not None and mask.shape != image.shape:
        raise InputError(f"the mask {tuple(mask.shape)} must have the shape of its image, {tuple(image.shape)}")
    if min(window, stride, per_window, block) < 1:
        raise InputError(
            f"window, stride, per_window and block must be 1 or more, got {window}, {stride}, {per_window}, {block}"
        )
    tissue = image > 0 if mask is None else mask > 0.5
    response = corner_response(image, block) * tissue[0, 0].cpu()
    response[response < quality * response.max()] = 0
    height, width = response.shape
    # windows start at every multiple of the stride; the last ones reach beyond the image, where there is nothing
    padded = F.pad(response, (0, window, 0, window))
    windows = padded.unfold(0, window, stride).unfold(1, window, stride)
    strength, place = windows.flatten(2).topk(min(per_window, window * window), dim=2)
    first_row = (torch.arange(windows.shape[0]) * stride)[:, None, None]
    first_column = (torch.arange(windows.shape[1]) * stride)[None, :, None]
    row, column = first_row + place // window, first_column + place % window
    index = (row * width + column)[strength > 0].unique()
    points = torch.stack([index // width, index % width], dim=1)
    if max_points is not None and len(points) > max_points:
        points = points[grid_bucketing(points, response.flatten()[index], max_points, (height, width))]
    return points.float().to(image.device)


def grid_bucketing(points: Tensor, strength: Tensor, count: int, shape: tuple[int, int]) -> Tensor:
    """Sorted indices of ``count`` points: the strongest of every cell of a grid, then the second strongest, and so on.

    Args:
        points: (N, 2) row, col.
        strength: (N,).
        count: fewer than N; the grid has about half as many cells.
        shape: (H, W) of the image.
    """
    side = max(1.0, (2 * shape[0] * shape[1] / count) ** 0.5)
    row, column = (points / side).long().unbind(dim=1)
    cell = row * (int(shape[1] / side) + 1) + column
    order = strength.argsort(descending=True, stable=True)
    order = order[cell[order].argsort(stable=True)]  # by cell, within it by strength
    _, sizes = cell[order].unique_consecutive(return_counts=True)
    starts = (sizes.cumsum(0) - sizes).repeat_interleave(sizes)
    place = torch.arange(len(order)) - starts  # 0 for the strongest of its cell
    # by place in the cell, within it by strength
    by_strength = strength[order].argsort(descending=True, stable=True)
    chosen = by_strength[place[by_strength].argsort(stable=True)][:count]
    return order[chosen].sort().values
