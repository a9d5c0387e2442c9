"""Stored fields in a row: from the image that stays over its neighbours to an image far away.

Each field has its own grid, resolution and physical unit; what two of them share is the full-resolution image between
them, so a chain goes from pixels to pixels. A field is known on its own grid only. Beyond it a link goes on with its
best affine and the border value of the rest: a border value of the whole field would fold a rotation over.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import Any

import numpy as np
import torch
from torch import Tensor

from custom_components.common.arrays import Matrix
from custom_components.fields.affine import VOXELS_AT_ONCE, nonrigid_part
from custom_components.fields.geometry import apply_matrix
from custom_components.fields.invert import best_affine
from custom_components.fields.itk_bridge import image_matrix, image_vectors
from custom_components.fields.sample_at import sample_at


@dataclass(frozen=True)
class Link:
    """One stored field as a step from the pixels of its fixed image to those of its moving image.

    Attributes:
        displacement: displacement image, fixed -> moving, in physical units of its own.
        fixed_matrix: (D+1, D+1) index_to_physical of the full-resolution fixed image, in the same units.
        moving_matrix: the same of the moving image.
    """

    displacement: Any
    fixed_matrix: Matrix
    moving_matrix: Matrix

    @cached_property
    def _parts(self) -> tuple[Matrix, Matrix, Tensor]:
        """The field's grid (index_to_physical), its best affine in voxels of that grid, and what it does beyond it."""
        grid = image_matrix(self.displacement)
        vectors = image_vectors(self.displacement).astype(np.float64)
        voxels = np.moveaxis(vectors @ np.linalg.inv(grid[:-1, :-1]).T, -1, 0)
        ddf = torch.from_numpy(np.ascontiguousarray(voxels))[None]
        affine = best_affine(ddf)
        square = np.eye(len(grid))
        square[:-1] = affine.numpy()
        return grid, square, nonrigid_part(affine, ddf)

    def warp_points(self, points: Matrix) -> Matrix:
        """(N, D) pixels of the fixed image, array-axis order -> pixels of the moving image."""
        grid, affine, residual = self._parts
        index = apply_matrix(np.linalg.inv(grid) @ self.fixed_matrix, np.asarray(points, dtype=np.float64))
        moved = index + sample_at(residual, torch.from_numpy(index)).numpy()
        return apply_matrix(np.linalg.inv(self.moving_matrix) @ grid @ affine, moved)


def warp_along(links: Sequence[Link], points: Matrix) -> Matrix:
    """(N, D) pixels of the first link's fixed image -> pixels of the last link's moving image."""
    for link in links:
        points = link.warp_points(points)
    return points


def chain_ddf(links: Sequence[Link], fixed_grid: Matrix, moving_grid: Matrix, spatial: Sequence[int]) -> Tensor:
    """One field for a chain of links, on working grids of its two ends.

    Args:
        links: the moving image of each is the fixed image of the next; none for an image onto itself.
        fixed_grid: (D+1, D+1) from voxels of the fixed working grid to pixels of the first link's fixed image.
        moving_grid: from voxels of the moving working grid to pixels of the last link's moving image.
        spatial: (D,) size of the fixed working grid.

    Returns:
        (1, D, *spatial) float32, voxels, fixed -> moving.
    """
    to_voxels = np.asarray(np.linalg.inv(moving_grid), dtype=np.float64)
    field = torch.empty(1, len(spatial), *spatial)
    rows = max(VOXELS_AT_ONCE // prod(spatial[1:]), 1)
    for first in range(0, spatial[0], rows):
        slab = (min(rows, spatial[0] - first), *spatial[1:])
        index = np.indices(slab).reshape(len(slab), -1).T.astype(np.float64)
        index[:, 0] += first
        voxels = apply_matrix(to_voxels, warp_along(links, apply_matrix(fixed_grid, index))) - index
        field[0, :, first : first + slab[0]] = torch.from_numpy(voxels.T.reshape(-1, *slab)).float()
    return field
