"""Pictures of one section that resemble those of another stain where the grey values themselves do not.

Nuclei that are dark in one stain may be pale in the next; that something is there is seen in both. The local deviation
and the gradient say that much, whatever the sign of the contrast, and lose the rest, so they are asked beside the grey
values, not in place of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import cv2
import numpy as np
import numpy.typing as npt
from torch import Tensor

from custom_components.common.errors import InputError
from custom_components.inferers.flow_refinement import Grey, blur, to_bytes
from custom_components.transforms.grey import equalise

Picture = npt.NDArray[np.float32]


def local_deviation(grey: Picture, sigma: float = 2.0) -> Picture:
    """Standard deviation of (H, W) in a Gaussian window of ``sigma`` voxels."""
    mean = blur(grey, sigma)
    return np.asarray(np.sqrt(np.maximum(blur(grey * grey, sigma) - mean**2, 0)), dtype=np.float32)


def gradient(grey: Picture, sigma: float = 1.5) -> Picture:
    """Magnitude of the gradient of (H, W) after a Gaussian of ``sigma`` voxels."""
    smooth = blur(grey, sigma)
    return np.asarray(np.hypot(cv2.Sobel(smooth, cv2.CV_32F, 1, 0), cv2.Sobel(smooth, cv2.CV_32F, 0, 1)), np.float32)


FEATURES: Mapping[str, Callable[[Picture], Picture]] = {"deviation": local_deviation, "gradient": gradient}
NAMES = ("luminance", *FEATURES)


def render(name: str, image: Tensor, mask: Tensor) -> Grey:
    """One rendering of a section, of even contrast.

    Args:
        name: "luminance", "deviation" or "gradient".
        image: (1, 1, H, W) in [0, 1].
        mask: (1, 1, H, W) tissue, whose brightest hundredth is saturated.

    Returns:
        (H, W) uint8.

    Raises:
        InputError: there is no rendering of that name.
    """
    if name == "luminance":
        return to_bytes(image)
    if name not in FEATURES:
        raise InputError(f"unknown rendering '{name}'; there are {', '.join(NAMES)}")
    values = FEATURES[name](np.ascontiguousarray(image[0, 0].cpu().numpy(), np.float32))
    tissue = mask[0, 0].cpu().numpy() > 0.5
    top = float(np.percentile(values[tissue] if tissue.any() else values, 99))
    # the root lifts pale tissue, whose texture is as good a guide as that of nuclei
    level = np.clip(values / max(top, 1e-6), 0, 1) ** 0.7
    return equalise((level * 255).astype(np.uint8), 2.0, 8)
