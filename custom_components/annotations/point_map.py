"""The way of points from one image to the other through a stored field."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from custom_components.fields import apply_matrix, matrix_of, transform_points

Matrix = npt.NDArray[np.float64]
Points = npt.NDArray[np.float64]


def carry_points(points: Points, displacement: Any, source: Matrix, target: Matrix) -> Points:
    """(N, 2) row, col pixels of one file to pixels of the other through a displacement image.

    Args:
        points: pixels of the file the field starts from, pixel centres at integers.
        displacement: displacement image whose grid lies on that file.
        source: index_to_physical of that file.
        target: index_to_physical of the other.
    """
    return apply_matrix(np.linalg.inv(target), transform_points(displacement, apply_matrix(source, points)))


@dataclass(frozen=True)
class PointMap:
    """Source pixels to target pixels, (N, 2) row, col, pixel centres at integers, full resolution.

    Attributes:
        displacement: displacement image that starts from the source image.
        source_matrix: index_to_physical of the source image.
        target_matrix: of the target image.
        source_shape: (rows, columns) of the source image.
        target_shape: of the target image.
        source: what messages call the source image: "moving" or "fixed".
        target: and the target image.
    """

    displacement: Any
    source_matrix: Matrix
    target_matrix: Matrix
    source_shape: tuple[int, ...]
    target_shape: tuple[int, ...]
    source: str = "moving"
    target: str = "fixed"

    def __call__(self, points: Points) -> Points:
        """(N, 2) row, col of the source image -> (N, 2) row, col of the target image."""
        return carry_points(points, self.displacement, self.source_matrix, self.target_matrix)

    @property
    def step(self) -> float:
        """Half the distance between the field's voxels in source pixels: close enough to see each of its bends."""
        pixels = np.linalg.inv(self.source_matrix) @ matrix_of(self.displacement)
        return float(np.linalg.norm(pixels[:-1, :-1], axis=0).min() / 2)

    @property
    def turns_over(self) -> bool:
        """Whether the map as a whole mirrors, as for a section that was turned over."""
        rows, columns = (side - 1 for side in self.source_shape)
        corners = self(np.array([[0, 0], [0, columns], [rows, columns], [rows, 0]], dtype=np.float64))
        first, second = corners[2] - corners[0], corners[3] - corners[1]
        return bool(first[0] * second[1] - first[1] * second[0] > 0)
