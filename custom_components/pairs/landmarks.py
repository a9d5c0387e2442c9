"""Landmark files: one point a row, columns X and Y in pixels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from custom_components.common.arrays import Points
from custom_components.common.errors import InputError
from custom_components.pairs.atomic import atomic_path
from custom_components.pairs.point_table import PointTable, read_point_table


def _read_table(path: str | Path) -> PointTable:
    table = read_point_table(path)
    if table.unit == "micrometre":
        names = f"{table.header[table.x]} and {table.header[table.y]}"
        raise InputError(f"landmarks {path} need columns X and Y in pixels, found {names}")
    return table


def read_points(path: str | Path) -> Points:
    """(N, 2) row, col pixels of a landmark file with columns X and Y (any case; comma, semicolon or tab).

    Pixel centres are at integers; QuPath's centroids in pixels, which begin half a pixel before, are shifted.

    Raises:
        InputError: no such file, no columns X and Y, no rows, or a value that is not a finite number.
    """
    table = _read_table(path)
    return np.asarray(table.points()[:, ::-1] - 0.5 * table.centroid)


def read_index(path: str | Path) -> list[str]:
    """The first column of a landmark file, as written, where it names the points; else 1, 2, ...

    Raises:
        InputError: as ``read_points`` does for the file and its columns.
    """
    table = _read_table(path)
    named = 0 not in (table.x, table.y)
    return [str(v) for v in table.cells[0]] if named else [str(i + 1) for i in range(len(table.cells))]


def write_points(path: str | Path, points: Points, index: Sequence[str] | None = None) -> None:
    """Write (N, 2) row, col pixels with the header ``,X,Y``, whole or not at all.

    Args:
        path: the file.
        points: (N, 2).
        index: N names of the points, such as ``read_index`` gives; default 1, 2, ...

    Raises:
        InputError: the file can't be written.
    """
    names = list(index) if index is not None else [str(i + 1) for i in range(len(points))]
    table = pd.DataFrame({"X": points[:, 1], "Y": points[:, 0]}, index=names)
    with atomic_path(path) as partial:
        table.to_csv(partial)


def check_landmark_counts(moving: Points, fixed: Points, names: tuple[str | Path, str | Path]) -> None:
    """Raise ``InputError`` unless both files hold equally many points."""
    if len(moving) != len(fixed):
        raise InputError(
            f"{names[0]} has {len(moving)} landmarks, {names[1]} has {len(fixed)}; "
            "row i of both must be the same structure"
        )
