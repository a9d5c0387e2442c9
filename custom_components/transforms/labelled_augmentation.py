"""Augmentation of images with label maps, alone or in aligned pairs, for feature extractors and registration."""

from __future__ import annotations

from collections.abc import Sequence
from math import radians

from monai.transforms import (
    Compose,
    ConcatItemsd,
    CopyItemsd,
    EnsureTyped,
    RandAffined,
    RandFlipd,
    RandSpatialCropd,
    SelectItemsd,
)

from custom_components.common.errors import InputError

TARGETS = ("image", "labels", "both")


def labelled_augmentation(
    spatial_dims: int = 2,
    target: str = "image",
    patch_size: Sequence[int] | int | None = None,
    rotation: float = 180.0,
    scale: float = 0.2,
    shear: float = 0.03,
    flip: bool = True,
) -> Compose:
    """One random affine for all channels of ``image`` and ``labels``, flips, and a random part of them.

    Source: Czolbe et al., "DeepSim": 180 degrees, scales of 0.8 to 1.2 and shear 0.03 for microscopy, 5 degrees and no
    scaling for brains. Outside the image there are zeros.

    Args:
        spatial_dims: 2 or 3.
        target: what becomes ``label``: the image as augmented, the label maps, or both over channels, for a loss that
            compares images and takes label maps where there are any.
        patch_size: voxels a side; None keeps the size.
        rotation: degrees, drawn from -rotation..rotation for every axis.
        scale: 1 - scale..1 + scale for every axis.
        shear: drawn from -shear..shear.
        flip: each axis with probability 1/2.

    Raises:
        InputError: another target.
    """
    if target not in TARGETS:
        raise InputError(f"target is {', '.join(TARGETS)}, got '{target}'")
    keys, angles = ("image", "labels"), 1 if spatial_dims == 2 else 3
    steps = [
        RandAffined(
            keys, prob=1.0, mode=("bilinear", "nearest"), padding_mode="zeros", allow_missing_keys=True,
            rotate_range=[radians(rotation)] * angles, scale_range=[scale] * spatial_dims,
            shear_range=[shear] * (spatial_dims * (spatial_dims - 1)),
        ),
        *(RandFlipd(keys, 0.5 if flip else 0.0, axis, allow_missing_keys=True) for axis in range(spatial_dims)),
    ]  # fmt: skip
    if patch_size is not None:
        steps.append(RandSpatialCropd(keys, patch_size, random_size=False, allow_missing_keys=True))
    if target == "both":
        steps.append(ConcatItemsd(keys, "label", allow_missing_keys=True))
    else:
        steps.append(CopyItemsd([target], names=["label"]))
    return Compose([*steps, SelectItemsd(("image", "label")), EnsureTyped(("image", "label"), track_meta=False)])
