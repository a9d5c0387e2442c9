"""Pieces of tissue that lie apart on a slide, and fields that carry each by an affine of its own."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt
import torch
from scipy import ndimage
from torch import Tensor

from custom_components.common.arrays import Matrix
from custom_components.fields import affine_to_ddf

Labels = npt.NDArray[np.int32]  # (H, W), 0 on glass, else the number of the piece
Mask = npt.NDArray[np.bool_]  # (H, W)
Part = tuple[Mask, Matrix]  # where an affine holds, and the affine
BRIDGED = 1 / 250  # share of the longer side: half of the gap that still lets tissue hang together
FAINT = 0.25  # of the way from glass to tissue: what is brighter is tissue
SHARPNESS = 8  # power of the distance by which affines are weighed over glass


def find_pieces(image: Tensor, mask: Tensor, least: float) -> Labels:
    """The pieces of a tissue, numbered from 1, the largest first.

    Masks are drawn generously, so that pieces with little glass between them hang together; the image tells them apart.

    Args:
        image: (1, 1, H, W), tissue bright on dark.
        mask: (1, 1, H, W), above 0.5 on tissue.
        least: share of the tissue; what is smaller is no piece.

    Returns:
        (H, W), 0 outside the mask; what is too small to be a piece belongs to the one next to it.
    """
    tissue, grey = mask[0, 0].cpu().numpy() > 0.5, image[0, 0].cpu().numpy().astype(np.float32)
    if not tissue.any():
        return np.zeros(tissue.shape, np.int32)
    bridged = max(1, round(BRIDGED * max(tissue.shape)))
    even = cv2.GaussianBlur(grey, (0, 0), bridged / 2)
    glass = float(np.median(even[~tissue])) if not tissue.all() else 0.0
    dense = tissue & (even > glass + FAINT * (float(np.median(even[tissue])) - glass))
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * bridged + 1, 2 * bridged + 1))
    closed = cv2.morphologyEx(np.pad(dense, 2 * bridged).astype(np.uint8), cv2.MORPH_CLOSE, disc)
    opened = cv2.morphologyEx(closed, cv2.MORPH_OPEN, disc)[2 * bridged : -2 * bridged, 2 * bridged : -2 * bridged]
    parts, count = ndimage.label(opened)
    sizes = np.bincount(parts.ravel(), minlength=count + 1)
    wanted = [k for k in range(1, count + 1) if sizes[k] >= least * sizes[1:].sum()]
    if len(wanted) < 2:
        return tissue.astype(np.int32)
    number = np.zeros(count + 1, np.int32)
    number[sorted(wanted, key=lambda k: -sizes[k])] = np.arange(1, len(wanted) + 1)
    kept: Labels = number[parts]
    rows, columns = ndimage.distance_transform_edt(kept == 0, return_distances=False, return_indices=True)
    return np.asarray(np.where(tissue, kept[rows, columns], 0), np.int32)


def blended(parts: Sequence[Part], shape: tuple[int, ...]) -> Tensor:
    """(1, 2, H, W) voxels: each part's affine on the part, and over the glass between them weighed by distance.

    On a part the field is its affine and nothing else; over glass, where parts have changed places, it may fold.

    Args:
        parts: masks that don't overlap, at least one, and their affines; an empty mask has no say.
        shape: (H, W).
    """
    total = torch.zeros(*shape, dtype=torch.float64)
    field = torch.zeros(1, 2, *shape, dtype=torch.float64)
    for mask, matrix in parts:
        if not mask.any():
            continue
        weight = torch.from_numpy(_distance(mask).astype(np.float64) + 1e-3) ** -SHARPNESS
        total += weight
        field += weight * affine_to_ddf(matrix, shape, torch.float64)
    return (field / total).float()


def carried(mask: Mask, matrix: Matrix) -> Mask:
    """(H, W) where ``matrix`` (fixed -> moving) has a part of the fixed grid, on the moving grid of the same size."""
    back = np.linalg.inv(matrix)
    found = ndimage.affine_transform(mask.astype(np.float32), back[:2, :2], back[:2, 2], mask.shape, order=1)
    return np.asarray(found > 0.5)


def nearest(masks: Sequence[Mask]) -> Labels:
    """(H, W) the index of the mask that each voxel is nearest to; an empty mask is near nothing."""
    least, owner = np.full(masks[0].shape, np.inf, np.float32), np.zeros(masks[0].shape, np.int32)
    for index, mask in enumerate(masks):
        if mask.any():
            away = _distance(mask)
            owner[away < least] = index
            least = np.minimum(away, least)
    return owner


def apart(masks: Sequence[Mask], width: float) -> list[Mask]:
    """The masks, less what lies within half the width of another one: room for a field to change in."""
    kept = []
    for index, mask in enumerate(masks):
        rest = np.logical_or.reduce([other for k, other in enumerate(masks) if k != index] or [np.zeros_like(mask)])
        kept.append(mask & (_distance(rest) > width / 2) if rest.any() else mask)
    return kept


def _distance(mask: Mask) -> npt.NDArray[np.float32]:
    """(H, W) voxels to a mask that is not empty, 0 on it."""
    return np.asarray(cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE), np.float32)
