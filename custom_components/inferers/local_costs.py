"""How alike two aligned images are about each place, for small displacements of one of them.

The images are compared on three grids, a finer one for short displacements and coarser ones for longer; by three
measures, of which each fails on other stains; in three windows. What that says about where the place belongs depends on
the stains, the texture and how the measures agree, see ``networks.displacement_decoder``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from custom_components.common.arrays import Array
from custom_components.fields import sample
from custom_components.inferers.renderings import local_deviation
from custom_components.inferers.result import PairImages
from custom_components.losses.mind import mind_ssc
from custom_components.networks.displacement_decoder import LEVELS, Level

CELL = 4  # voxels of the finest grid between the places that costs are known at; a multiple of all levels' factors
NEAR = 8.0  # voxels of a level, sigma of the neighbourhood that contrast is relative to
LEAST_DEVIATION = 0.02  # grey values
FLAT = 1e-4  # squared grey values; see ``mind_ssc``
THIN = 1e-3  # share of a window that shows tissue, about which one is as good as none


@dataclass(frozen=True)
class LocalCosts:
    """Likeness by displacement at places ``stride`` voxels apart.

    Attributes:
        levels: one (h, w, C, K, K) of each of ``LEVELS``; C is measures times windows; larger is more alike.
        stride: voxels between places; place (i, j) is at ``stride * (i + 0.5) - 0.5``.
        tissue: (h, w), share of both tissues about the place.
    """

    levels: tuple[Tensor, ...]
    stride: int
    tissue: Tensor

    def at(self, points: Tensor) -> tuple[Tensor, ...]:
        """One (N, C, K, K) a level at points (N, 2), voxels."""
        where = ((points.float() + 0.5) / self.stride - 0.5).T.reshape(1, 2, -1, 1)
        found = []
        for level in self.levels:
            height, width, *rest = level.shape
            values = level.reshape(1, height, width, -1).permute(0, 3, 1, 2)
            found.append(sample(values, where)[0, :, :, 0].T.reshape(len(points), *rest))
        return tuple(found)

    def on_tissue(self) -> tuple[Tensor, tuple[Tensor, ...]]:
        """The places on both tissues, (N, 2) voxels, and one (N, C, K, K) a level there."""
        index = self.tissue > 0.5
        points = (index.nonzero().float() + 0.5) * self.stride - 0.5
        return points, tuple(level[index] for level in self.levels)


def local_costs(aligned: PairImages, every: int = 1) -> LocalCosts:
    """Compare the images of a pair that lie on each other already.

    Args:
        aligned: images and masks (1, 1, H, W) on one grid.
        every: cells between the places that are described.
    """
    height, width = aligned.shape
    whole = CELL * every
    beyond = [0, -width % whole, 0, -height % whole]
    tensors = [aligned.fixed, aligned.moving, aligned.fixed_mask, aligned.moving_mask]
    fixed, moving, own, other = (F.pad(tensor.float().cpu(), beyond, mode="replicate") for tensor in tensors)
    levels = tuple(_level([fixed, moving, own, other], level, every) for level in LEVELS)
    return LocalCosts(levels, whole, F.avg_pool2d(own * other, whole)[0, 0])


def _level(images: Sequence[Tensor], level: Level, every: int) -> Tensor:
    fixed, moving, own, other = (F.avg_pool2d(image, level.factor) for image in images)
    ours, theirs = _described(fixed), _described(moving)
    reach, cell = level.reach, CELL // level.factor
    size, count = tuple(fixed.shape[2:]), 2 * reach + 1
    theirs = [F.pad(maps, [reach] * 4, mode="replicate") for maps in theirs]
    other = F.pad(other, [reach] * 4)
    spreads = [[_spread(side, window, cell, every) for side in size] for window in level.windows]
    rows = []
    for row in range(count):
        # all displacements along a row at once: (K, C, H, W)
        cut = [maps[0, :, row : row + size[0]].unfold(2, size[1], 1).movedim(2, 0) for maps in (*theirs, other)]
        seen = own[0] * cut[-1]
        values = [(mine * there).mean(1, keepdim=True) for mine, there in zip(ours[:2], cut[:2], strict=True)]
        values.append(-(ours[2] - cut[2]).square().mean(1, keepdim=True))
        cells = F.avg_pool2d(torch.cat([torch.cat(values, dim=1) * seen, seen], dim=1), cell)
        found = []
        for down, across in spreads:
            total = down @ cells @ across.T
            found.append(total[:, :-1] / (total[:, -1:] + THIN))
        # (h, w, measures * windows, K)
        rows.append(torch.stack(found, dim=2).flatten(1, 2).permute(2, 3, 1, 0))
    return torch.stack(rows, dim=3)


def _described(image: Tensor) -> list[Tensor]:
    """Maps (1, C, H, W) that each measure compares."""
    grey = np.ascontiguousarray(image[0, 0].numpy())
    parts = [torch.from_numpy(_contrast(values))[None, None] for values in (grey, local_deviation(grey))]
    return [*parts, mind_ssc(image, 1, 2, FLAT)]


def _contrast(values: Array) -> Array:
    """(H, W) difference from the neighbourhood's mean, in its deviations."""
    values = np.asarray(values, np.float32)
    mean = cv2.GaussianBlur(values, (0, 0), NEAR)
    variance = np.maximum(cv2.GaussianBlur(values * values, (0, 0), NEAR) - mean * mean, 0)
    return np.asarray((values - mean) / (np.sqrt(variance) + LEAST_DEVIATION), np.float32)


def _spread(side: int, window: float, cell: int, every: int) -> Tensor:
    """(places, cells) weights of a Gaussian window along an axis."""
    cells = torch.arange(side // cell, dtype=torch.float32) + 0.5
    places = torch.arange(0, side // cell, every, dtype=torch.float32) + every / 2
    # the mean over a cell is a window too
    sigma = max(window / cell, 0.3)
    weight = torch.exp(-((places[:, None] - cells[None]) ** 2) / (2 * sigma**2))
    return weight / (sigma * math.sqrt(2 * math.pi))
