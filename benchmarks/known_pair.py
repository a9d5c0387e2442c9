"""A tissue pair of any size whose displacement is known."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
import torch.nn.functional as F
from skimage import data
from torch import Tensor

from custom_components.fields import identity_grid, sample
from custom_components.inferers import PairImages

ENLARGED = 2048  # pixels; a larger image repeats this one, mirrored, as no detail is left to enlarge


def truth(size: int, amplitude: float, first: int = 0, rows: int | None = None) -> Tensor:
    """(1, 2, rows, size) known field fixed -> moving, pixels, from row ``first`` on: smooth and without folds."""
    length = min(size, ENLARGED)
    down, across = identity_grid((rows or size, size)) / length * (2 * np.pi)
    down = down + first / length * (2 * np.pi)
    waves = torch.stack(
        [torch.sin(1.3 * down + 0.4) * torch.cos(0.9 * across + 1.0), torch.cos(1.1 * down) * torch.sin(1.2 * across)]
    )
    return amplitude * length * waves[None]


def _in_slabs(size: int) -> Iterable[tuple[int, int]]:
    number = max(2**20 // size, 1)
    return [(first, min(number, size - first)) for first in range(0, size, number)]


def tissue_pair(size: int, amplitude: float) -> PairImages:
    """scikit-image's immunohistochemistry image, tissue bright, as moving image; fixed is read from it by ``truth``."""
    grey = 1 - torch.from_numpy(data.immunohistochemistry()).float().mean(dim=2) / 255
    length = min(size, ENLARGED)
    tile = F.interpolate(
        grey[None, None], (length, length), mode="bilinear", align_corners=False, antialias=length < grey.shape[0]
    )
    moving = torch.empty(1, 1, size, size)
    for row in range(0, size, length):
        for column in range(0, size, length):
            turned = [2 + axis for axis, start in enumerate((row, column)) if start // length % 2]
            part = moving[..., row : row + length, column : column + length]
            part.copy_(tile.flip(turned)[..., : part.shape[2], : part.shape[3]])
    fixed = torch.empty_like(moving)
    for first, rows in _in_slabs(size):
        positions = identity_grid((rows, size)) + truth(size, amplitude, first, rows)
        positions[:, 0] += first
        fixed[:, :, first : first + rows] = sample(moving, positions)
    return PairImages(moving, fixed, (moving > 0.02).float(), (fixed > 0.02).float())


def mean_error(ddf: Tensor | None, size: int, amplitude: float) -> float:
    """Mean distance, pixels, of a field (1, 2, size, size) or of none, to the known one; the outer 5 % are left out."""
    rim, total = size // 20, 0.0
    for first, rows in _in_slabs(size):
        distance = truth(size, amplitude, first, rows)
        if ddf is not None:
            distance -= ddf[:, :, first : first + rows].cpu()
        low, high = max(rim - first, 0), min(size - rim - first, rows)
        total += float(distance.norm(dim=1)[:, low : max(high, low), rim : size - rim].double().sum())
    return total / (size - 2 * rim) ** 2
