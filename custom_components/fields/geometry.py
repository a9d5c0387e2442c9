"""Array indices to physical coordinates and back.

An ``index_to_physical`` matrix is (D+1, D+1) float64 and maps array indices (row, col) or (slice, row, col)
to ITK's physical LPS coordinates (x, y[, z]). It holds spacing, origin and direction in one.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from custom_components.common.arrays import Matrix


def index_to_physical(
    spacing: Sequence[float], origin: Sequence[float] | None = None, direction: Matrix | None = None
) -> Matrix:
    """Matrix of a grid given as ITK gives it.

    Args:
        spacing: (D,) in the order x, y[, z].
        origin: (D,) physical position of the first voxel's centre; default 0.
        direction: (D, D) columns are the axes' directions in the order x, y[, z]; default identity.
    """
    dimensions = len(spacing)
    matrix = np.eye(dimensions + 1)
    turn = np.eye(dimensions) if direction is None else np.asarray(direction, dtype=np.float64)
    # array axes come in the reverse order of x, y[, z], hence the reversed columns
    matrix[:-1, :-1] = (turn * np.asarray(spacing, dtype=np.float64))[:, ::-1]
    if origin is not None:
        matrix[:-1, -1] = origin
    return matrix


def spacing_origin_direction(matrix: Matrix) -> tuple[Matrix, Matrix, Matrix]:
    """(spacing, origin, direction) in ITK's order x, y[, z] of an ``index_to_physical`` matrix."""
    axes = matrix[:-1, :-1][:, ::-1]
    spacing = np.linalg.norm(axes, axis=0)
    return spacing, matrix[:-1, -1].copy(), axes / spacing


def apply_matrix(matrix: npt.NDArray[np.floating], points: npt.NDArray[np.floating]) -> Matrix:
    """(N, D) points through a homogeneous (D+1, D+1) matrix."""
    return np.asarray(points @ matrix[:-1, :-1].T + matrix[:-1, -1], dtype=np.float64)
