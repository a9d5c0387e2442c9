"""Pictures of one section that resemble those of another stain where the grey values themselves do not.

Nuclei that are dark in one stain may be pale in the next; that something is there is seen in both. The local deviation
and the gradient say that much, whatever the sign of the contrast, and lose the rest, so they are asked beside the grey
values, not in place of them. Of coloured sections the haematoxylin, which most stains share, can be told from the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import cv2
import numpy as np
import numpy.typing as npt
import torch
from monai.data.meta_tensor import MetaTensor
from skimage.color import rgb2hed
from torch import Tensor

from custom_components.common.errors import InputError
from custom_components.fields import Grid, warp
from custom_components.inferers.flow_refinement import Grey, blur, to_bytes
from custom_components.inferers.result import PairImages
from custom_components.pairs.kinds import image_kind
from custom_components.transforms.grey import equalise
from custom_components.transforms.working import as_float, pad_to, shrink

Picture = npt.NDArray[np.float32]


def local_deviation(grey: Picture, sigma: float = 1.0) -> Picture:
    """Standard deviation of (H, W) in a Gaussian window of ``sigma`` voxels."""
    mean = blur(grey, sigma)
    return np.asarray(np.sqrt(np.maximum(blur(grey * grey, sigma) - mean**2, 0)), dtype=np.float32)


def gradient(grey: Picture, sigma: float = 1.0) -> Picture:
    """Magnitude of the gradient of (H, W) after a Gaussian of ``sigma`` voxels."""
    smooth = blur(grey, sigma)
    return np.asarray(np.hypot(cv2.Sobel(smooth, cv2.CV_32F, 1, 0), cv2.Sobel(smooth, cv2.CV_32F, 0, 1)), np.float32)


def haematoxylin(image: MetaTensor, grid: Grid) -> Tensor:
    """(1, 1, H, W) the share of haematoxylin in the colour, by colour deconvolution, on a working grid.

    Source: Ruifrok and Johnston, "Quantification of histochemical staining by color deconvolution", 2001.

    Args:
        image: (3, h, w) uint8 RGB as it was read.
        grid: of the working image: shrunk, and padded on all sides.
    """
    own = Grid.of(image)
    small = shrink(as_float(image), np.minimum(own.spacing / grid.spacing, 1.0).tolist()) / 255
    stain = rgb2hed(small.clamp(0, 1).permute(1, 2, 0).numpy())[..., 0]
    return pad_to(torch.from_numpy(np.ascontiguousarray(stain, np.float32))[None], grid.shape)[None]


FEATURES: Mapping[str, Callable[[Picture], Picture]] = {"deviation": local_deviation, "gradient": gradient}
NAMES = ("luminance", *FEATURES, "haematoxylin")
DEFAULT = ("luminance", "deviation", "haematoxylin")


def render_pair(name: str, aligned: PairImages, base: Tensor) -> tuple[Grey, Grey] | None:
    """One rendering of both sections, of even contrast.

    Args:
        name: "luminance", "deviation" (in a window of 1 voxel), "gradient", or "haematoxylin".
        aligned: the pair after its affine.
        base: (1, 2, H, W) the affine's field, voxels, by which what is read of the files anew is aligned.

    Returns:
        Fixed and moving image, (H, W) uint8; None for the haematoxylin of images of which one is not coloured.

    Raises:
        InputError: there is no rendering of that name.
    """
    if name == "luminance":
        return to_bytes(aligned.fixed), to_bytes(aligned.moving)
    if name in FEATURES:
        feature = FEATURES[name]
        fixed, moving = (feature(_picture(image)) for image in (aligned.fixed, aligned.moving))
    elif name == "haematoxylin":
        origin = aligned.origin
        if origin is None or {image_kind(image) for image in (origin.fixed, origin.moving)} != {"section"}:
            return None
        fixed = _picture(haematoxylin(origin.fixed, origin.fixed_grid))
        moving = _picture(warp(haematoxylin(origin.moving, origin.moving_grid).to(base), base))
    else:
        raise InputError(f"unknown rendering '{name}'; there are {', '.join(NAMES)}")
    return evened(fixed, aligned.fixed_mask), evened(moving, aligned.moving_mask)


def evened(values: Picture, mask: Tensor) -> Grey:
    """(H, W) uint8 of even contrast: 0 stays dark, the brightest hundredth of the tissue (1, 1, H, W) is saturated."""
    tissue = mask[0, 0].cpu().numpy() > 0.5
    top = float(np.percentile(values[tissue] if tissue.any() else values, 99))
    # the root lifts pale tissue, whose texture is as good a guide as that of nuclei
    level = np.clip(values / max(top, 1e-6), 0, 1) ** 0.7
    return equalise((level * 255).astype(np.uint8), 2.0, 8)


def _picture(image: Tensor) -> Picture:
    return np.ascontiguousarray(image[0, 0].cpu().numpy(), np.float32)
