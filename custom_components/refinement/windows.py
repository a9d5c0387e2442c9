"""Which windows of a slide are refined, and how their fields become one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from custom_components.annotations import check_annotations
from custom_components.common.arrays import Matrix
from custom_components.common.errors import InputError
from custom_components.fields import sample
from custom_components.inferers.patches import Patch


@dataclass(frozen=True)
class Box:
    """A rectangle of a slide: rows and columns of its outer edges, pixels of level 0 counted from their middles."""

    top: float
    left: float
    bottom: float
    right: float

    def meets(self, patch: Patch, size: int, matrix: Matrix) -> bool:
        """Whether a window of ``size`` pixels has a part in it.

        Args:
            patch: the window.
            size: of it.
            matrix: (3, 3) from the windows' pixels to those of level 0.
        """
        first, last = (matrix[:2, :2] @ (np.array(patch.start) + at) + matrix[:2, 2] for at in (-0.5, size - 0.5))
        return bool(first[0] < self.bottom and last[0] > self.top and first[1] < self.right and last[1] > self.left)


def parse_box(region: Sequence[float]) -> Box:
    """The box of x, y, width, height, counted from the outer corner of the first pixel.

    Raises:
        InputError: not four numbers, or an empty box.
    """
    if len(region) != 4 or min(region[2:]) <= 0:
        raise InputError(f"a region is [x, y, width, height] in pixels of the fixed slide, got {list(region)}")
    x, y, width, height = (float(number) for number in region)
    return Box(y - 0.5, x - 0.5, y + height - 0.5, x + width - 0.5)


def read_boxes(file: str | Path) -> list[Box]:
    """The bounding boxes of an annotation file's objects.

    Raises:
        InputError: the file is wrong, or holds no object.
    """
    chains = check_annotations(Path(file)).chains
    boxes = []
    for owner in np.unique(chains.owner):
        mine = [chains.points[chains.starts[i] : chains.starts[i + 1]] for i in np.flatnonzero(chains.owner == owner)]
        low, high = (extreme(np.concatenate(mine), axis=0) for extreme in (np.min, np.max))
        width, height = np.maximum(high - low, 1.0)  # so that a point is a box too
        boxes.append(parse_box([low[0], low[1], width, height]))
    if not boxes:
        raise InputError(f"{file}: there is no object in it to refine around")
    return boxes


def wanted(patch: Patch, size: int, matrix: Matrix, boxes: Iterable[Box] | None) -> bool:
    """Whether a window meets one of ``boxes``; None means everywhere."""
    return boxes is None or any(box.meets(patch, size, matrix) for box in boxes)


class BlendedField:
    """Fields of overlapping windows on one coarser grid, each fading towards its window's rim.

    Windows that are not given count as windows that don't move, so the field fades at the rim of what was refined.

    Args:
        spatial: (H, W) of the grid.
        to_grid: (3, 3) from the windows' pixels to the grid's voxels; parallel to the axes.
        size: pixels of a window.
        overlap: pixels over which a window fades.
    """

    def __init__(self, spatial: Sequence[int], to_grid: Matrix, size: int, overlap: int) -> None:
        self.sum = torch.zeros(1, 2, *spatial)
        self.weights = torch.zeros(1, 1, *spatial)
        self.scale = torch.tensor([to_grid[0, 0], to_grid[1, 1]], dtype=torch.float32)
        self.offset = np.array([to_grid[0, 2], to_grid[1, 2]])
        self.size = size
        self.overlap = overlap

    def places(self, patch: Patch) -> tuple[tuple[slice, slice], list[Tensor]]:
        """The grid's voxels in a window: their slices, and rows and columns (n,) in the window's pixels."""
        area, positions = [], []
        for k in range(2):
            scale = float(self.scale[k])
            low, high = (
                scale * (patch.start[k] + at) + self.offset[k] for at in (-0.5, self.size - 0.5)
            )  # the window's rim in voxels
            first, stop = max(int(np.ceil(low)), 0), min(int(np.floor(high)) + 1, self.sum.shape[2 + k])
            area.append(slice(first, max(stop, first)))
            voxels = np.arange(first, max(stop, first))
            positions.append(torch.from_numpy((voxels - self.offset[k]) / scale - patch.start[k]).float())
        return (area[0], area[1]), positions

    def add(self, patch: Patch, field: Tensor | None) -> None:
        """Add a window's field (1, 2, size, size) in its pixels; None where it does not move."""
        area, positions = self.places(patch)
        if not len(positions[0]) or not len(positions[1]):
            return
        ramps = [
            (torch.minimum(place + 0.5, self.size - 0.5 - place) / self.overlap).clamp(1e-3, 1) for place in positions
        ]
        weight = ramps[0][:, None] * ramps[1]
        self.weights[0, 0][area] += weight
        if field is not None:
            places = torch.stack(torch.meshgrid(*positions, indexing="ij"))[None]
            values = sample(field.float().cpu(), places)[0] * self.scale[:, None, None]
            self.sum[0][(slice(None), *area)] += weight * values

    def field(self) -> Tensor:
        """(1, 2, H, W) in the grid's voxels; zero where there was no window."""
        return self.sum / self.weights.clamp(min=1e-6)
