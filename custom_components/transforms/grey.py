"""Colour or grey section -> stain-independent grey: tissue bright on a black background, whatever the stain."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
from scipy import ndimage
from skimage import filters

from custom_components.common.errors import InputError
from custom_components.transforms.background import background_is_bright

Floats = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]
LUMINANCE = np.array([0.299, 0.587, 0.114], dtype=np.float32)  # ITU-R BT.601


def to_luminance(image: npt.NDArray[np.generic]) -> Floats:
    """(C, H, W) of any dtype -> (H, W) float32: luminance of RGB, the mean of any other number of channels."""
    data = image.astype(np.float32)
    level = np.tensordot(LUMINANCE, data, axes=1) if len(data) == 3 else data.mean(axis=0)
    return np.asarray(level, dtype=np.float32)


def stretch(grey: Floats, low: float = 0.5, high: float = 99.5) -> Floats:
    """Percentiles ``low``..``high`` -> 0..1, clipped; a constant image gives zeros."""
    bottom, top = np.percentile(grey, (low, high))
    return between(grey, float(bottom), float(top))


def between(grey: Floats, bottom: float, top: float) -> Floats:
    """``bottom``..``top`` -> 0..1, clipped; zeros where they are as good as equal."""
    if top - bottom <= 1e-6 * max(abs(top), 1.0):
        return np.zeros_like(grey)
    return np.asarray(np.clip((grey - bottom) / (top - bottom), 0, 1), dtype=np.float32)


def equalise(grey: npt.NDArray[np.uint8], clip_limit: float, tiles: int) -> npt.NDArray[np.uint8]:
    """Contrast-limited adaptive histogram equalisation (CLAHE) of (H, W) in ``tiles`` x ``tiles`` parts."""
    return np.asarray(cv2.createCLAHE(clip_limit, (tiles, tiles)).apply(grey), dtype=np.uint8)


@dataclass(frozen=True)
class GreyRange:
    """How the luminance of an image becomes grey, so that parts of it become the same grey as the whole.

    Attributes:
        bright: whether the background is, so that luminance is negated.
        low: of the luminance, after that, that becomes 0.
        high: that becomes 1; ``low`` for an image without contrast, which becomes 0 everywhere.
    """

    bright: bool
    low: float
    high: float

    @staticmethod
    def of(image: npt.NDArray[np.generic], low: float = 0.5, high: float = 99.5) -> GreyRange:
        """That of (C, H, W) by its percentiles."""
        grey = to_luminance(image)
        bright = background_is_bright(grey)
        bottom, top = np.percentile(-grey if bright else grey, (low, high))
        return GreyRange(bright, float(bottom), float(top))

    def __call__(self, image: npt.NDArray[np.generic]) -> Floats:
        """(C, H, W) -> (H, W) float32 in [0, 1]."""
        grey = to_luminance(image)
        return between(-grey if self.bright else grey, self.low, self.high)


def stain_independent_grey(
    image: npt.NDArray[np.generic], clip_limit: float = 2.0, tiles: int = 8, span: GreyRange | None = None
) -> Floats:
    """(C, H, W) -> (H, W) float32 in [0, 1]: inverted luminance, robust range, CLAHE.

    Args:
        image: colour or grey, any dtype.
        clip_limit: of CLAHE; 0 leaves it out.
        tiles: contrast is equalised in this many tiles a side.
        span: of the whole image that this one is a part of; None takes its own.
    """
    grey = (span or GreyRange.of(image))(image)
    if clip_limit > 0 and grey.any():
        grey = equalise((grey * 255).round().astype(np.uint8), clip_limit, tiles).astype(np.float32) / np.float32(255)
    return grey


def tissue_mask(image: npt.NDArray[np.generic], name: str = "image", min_share: float = 0.005) -> Mask:
    """(C, H, W) -> (H, W) bool: where there is tissue, holes filled, specks removed.

    Colour saturation is taken into account as well as darkness, since pale eosin differs from glass in colour only.

    Args:
        image: colour or grey, any dtype.
        name: what the message calls the image.
        min_share: connected parts smaller than this share of the image are specks.

    Raises:
        InputError: the image is constant, or no tissue stands out from the background.
    """
    grey = to_luminance(image)
    evidence = stretch(-grey if background_is_bright(grey) else grey)
    if len(image) == 3:
        colour = image.astype(np.float32)
        evidence = np.maximum(evidence, stretch(colour.max(axis=0) - colour.min(axis=0)))
    evidence = np.asarray(ndimage.gaussian_filter(evidence, sigma=max(grey.shape) / 800), dtype=np.float32)
    if float(evidence.max() - evidence.min()) < 1e-3 or float(grey.std()) < 1e-3 * max(float(np.abs(grey).max()), 1e-6):
        raise InputError(
            f"{name} is empty: all pixels have the value {float(grey.flat[0]):.4g}; nothing can be matched"
        )
    # the triangle rule finds the foot of the background's peak; tissue as porous as lung is then closed by its density
    stained = evidence > min(float(filters.threshold_triangle(evidence)), 0.5)
    density = ndimage.gaussian_filter(stained.astype(np.float32), sigma=max(grey.shape) / 60, mode="constant")
    mask = density > 0.15
    mask = ndimage.binary_fill_holes(mask)
    labels, _ = ndimage.label(mask)
    sizes = np.bincount(labels.ravel())
    keep = sizes >= min_share * mask.size
    keep[0] = False
    result: Mask = keep[labels]
    if not result.any():
        raise InputError(
            f"{name} shows no tissue: no part of at least {min_share:.1%} of it differs from the background"
        )
    return result
