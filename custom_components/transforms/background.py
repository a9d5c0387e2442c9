"""What lies around the tissue: glass, darkness, or a fill that a program has put where nothing was scanned."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

Floats = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]
LEAST_FILL = 0.01  # share of the image; less is not worth the risk
EVEN = 0.02  # share of the range within which a fill's values lie
HOMOGENEOUS = 0.08  # share of the range by which a background varies, and tissue more
DIFFERENT = 0.1  # share of the range that a fill is off the background at least


def rim(grey: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The outermost pixels of (H, W)."""
    return np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]])


def background_is_bright(grey: Floats) -> bool:
    """Whether tissue is darker than what surrounds it: bright-field glass, not fluorescence.

    Where the rim is as even as a background, what differs from it beyond its noise decides, however small the tissue;
    elsewhere, as in a field of view full of tissue, whether the rim lies in the upper half of the range.
    """
    low, high = np.percentile(grey, (0.5, 99.5))
    level, noise = _level(rim(grey))
    span = max(float(grey.max() - grey.min()), 1e-12)
    if noise > HOMOGENEOUS * span:
        return level > float(low + high) / 2
    apart = grey.astype(np.float64) - level
    margin = max(6 * noise, 0.01 * span)
    darker, brighter = -apart[apart < -margin].sum(), apart[apart > margin].sum()
    if max(darker, brighter) == 0:
        return level > float(low + high) / 2
    return bool(darker > brighter)


def fill_of(grey: Floats) -> tuple[Mask, Mask] | None:
    """(H, W) where a fill is, and the background beside it; None where there is none.

    A fill is even, reaches the border, and ends at something that is even too and of another level: the glass of a
    slide whose unscanned part is black, or the darkness of fluorescence whose rim is white. What ends at tissue is
    background itself.
    """
    span = float(grey.max() - grey.min())
    if span <= 0:
        return None
    for value in (float(grey.min()), float(grey.max()), _level(rim(grey))[0]):
        even = np.abs(grey - value) <= EVEN * span
        labels, _ = ndimage.label(even)
        touching = np.unique(rim(labels))
        fill = np.isin(labels, touching[touching > 0])
        if not LEAST_FILL * fill.size <= fill.sum() < (1 - LEAST_FILL) * fill.size:
            continue
        near, far = (ndimage.binary_dilation(fill, iterations=width) for width in (4, 10))  # JPEG rings beside an edge
        beside = far & ~near
        if beside.sum() < 50:
            continue
        level, noise = _level(grey[beside])
        apart = level - value
        if abs(apart) < DIFFERENT * span or noise > HOMOGENEOUS * abs(apart):
            continue
        # 0 at the background, towards the fill 1: tissue lies between them, and nothing beyond the background
        places = (level - grey[~near]) / apart
        if np.mean(places > 0.05) > 0.01 and np.mean(places < -0.1) < 0.01:
            return near, beside
    return None


def without_fill(image: npt.NDArray[Any], grey: Floats) -> tuple[npt.NDArray[Any], str]:
    """The image with the colour of its background in place of a fill, and a note; as it is and "" where none is.

    Args:
        image: (C, H, W).
        grey: (H, W) its luminance.
    """
    found = fill_of(grey)
    if found is None:
        return image, ""
    fill, beside = found
    result = image.copy()
    result[:, fill] = np.median(image[:, beside], axis=1).astype(image.dtype)[:, None]
    kind = "dark" if float(np.median(grey[fill])) < float(np.median(grey[beside])) else "bright"
    return result, f"{fill.mean():.0%} of it, an even {kind} fill at the border, is taken for unscanned"


def _level(values: npt.NDArray[Any]) -> tuple[float, float]:
    """Median, and how far half of the values are off it."""
    middle = float(np.median(values))
    return middle, float(np.median(np.abs(values - middle)))
