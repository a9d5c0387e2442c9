"""The way of points from one image to the other through a stored field."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import Any

import numpy as np

from custom_components.common.arrays import Points
from custom_components.fields import ErrorMap, Grid, image_matrix, pixels_per_length, transform_points


def warp_points(points: Points, displacement: Any, source: Grid, target: Grid) -> Points:
    """(N, D) pixels of one file to pixels of the other through a displacement image, array-axis order.

    Args:
        points: pixels of the file the field starts from, pixel centres at integers.
        displacement: displacement image whose grid lies on that file.
        source: grid of that file.
        target: grid of the other.
    """
    return target.index(transform_points(displacement, source.physical(points)))


@dataclass(frozen=True)
class PointMap:
    """Source pixels to target pixels, (N, D) [slice,] row, col, pixel centres at integers, full resolution.

    Attributes:
        displacement: displacement image that starts from the source image.
        source_grid: of the source image's file.
        target_grid: of the target image's file.
        source: what messages call the source image: "moving" or "fixed".
        target: and the target image.
        error_map: how far the field may be off; None where it was not estimated.
    """

    displacement: Any
    source_grid: Grid
    target_grid: Grid
    source: str = "moving"
    target: str = "fixed"
    error_map: ErrorMap | None = None

    def __call__(self, points: Points) -> Points:
        """(N, D) [slice,] row, col of the source image -> (N, D) of the target image; NaN stay NaN."""
        known = np.isfinite(points).all(axis=1)
        if known.all():
            return warp_points(points, self.displacement, self.source_grid, self.target_grid)
        moved = np.full(points.shape, np.nan)
        moved[known] = warp_points(points[known], self.displacement, self.source_grid, self.target_grid)
        return moved

    def errors(self, points: Points, moved: Points) -> Points:
        """(N, 2) how far carried points may be off: the expected error and the bound that 95 % of places stay below.

        Read where the points lie in the fixed image, and told in the target image: of sections in its pixels, of
        volumes in the unit of its grid.

        Args:
            points: (N, D) of the source image.
            moved: (N, D) what ``self`` makes of them.

        Raises:
            ValueError: there is no map.
        """
        if self.error_map is None:
            raise ValueError("the result has no error estimate")
        forward = self.source == "fixed"
        fixed = self.source_grid if forward else self.target_grid
        found = self.error_map.at(fixed.physical(points if forward else moved))
        if len(fixed.shape) == 3:
            return found
        return found * pixels_per_length(fixed) * (self.magnification if forward else 1.0)

    @cached_property
    def magnification(self) -> float:
        """Pixels of the target image that one pixel of the source becomes, of the map as a whole."""
        size = np.array(self.source_grid.shape, dtype=np.float64)
        places = np.array(list(product(*(np.linspace(0.0, side - 1, 9) for side in size))))
        affine, *_ = np.linalg.lstsq(np.column_stack([places, np.ones(len(places))]), self(places), rcond=None)
        return float(abs(np.linalg.det(affine[:-1])) ** (1 / len(size)))

    @property
    def step(self) -> float:
        """Half the distance between the field's voxels in source pixels: close enough to see each of its bends."""
        pixels = np.linalg.inv(self.source_grid.matrix) @ image_matrix(self.displacement)
        return float(np.linalg.norm(pixels[:-1, :-1], axis=0).min() / 2)

    @property
    def turns_over(self) -> bool:
        """Whether the map as a whole mirrors, as for a section that was turned over."""
        rows, columns = (side - 1 for side in self.source_grid.shape)
        corners = self(np.array([[0, 0], [0, columns], [rows, columns], [rows, 0]], dtype=np.float64))
        first, second = corners[2] - corners[0], corners[3] - corners[1]
        return bool(first[0] * second[1] - first[1] * second[0] > 0)
