"""Landmark files: one point a row, columns X and Y in pixels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from custom_components.errors import InputError
from custom_components.pairs.atomic import atomic_path

Points = npt.NDArray[np.float64]


def _read_table(path: str | Path) -> tuple[pd.DataFrame, str, str]:
    file = Path(path)
    if not file.is_file():
        raise InputError(f"landmarks {file} do not exist")
    try:
        with file.open(encoding="utf-8-sig") as lines:
            header = lines.readline()
        separator = max(",;\t", key=header.count)  # the header decides; guessing from the numbers goes wrong
        table = pd.read_csv(file, sep=separator, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except (OSError, ValueError) as error:  # pandas' own errors and wrong encodings are ValueErrors
        raise InputError(f"landmarks {file} can't be read as CSV: {error}") from error
    names = {str(column).strip().lower(): str(column) for column in table.columns}
    if "x" not in names or "y" not in names:
        raise InputError(f"landmarks {file} need columns X and Y, found {', '.join(map(str, table.columns))}")
    if table.empty:
        raise InputError(f"landmarks {file} have no rows")
    return table, names["x"], names["y"]


def read_points(path: str | Path) -> Points:
    """(N, 2) row, col pixels of a landmark file with columns X and Y (any case; comma, semicolon or tab).

    Raises:
        InputError: no such file, no columns X and Y, no rows, or a value that is no finite number.
    """
    table, x, y = _read_table(path)
    columns = [pd.to_numeric(table[name], errors="coerce").to_numpy(np.float64) for name in (y, x)]
    values: Points = np.stack(columns, axis=1)
    bad = ~np.isfinite(values).all(axis=1)
    if bad.any():
        raise InputError(
            f"landmarks {path}: row {int(bad.argmax()) + 2} has no finite X and Y; {int(bad.sum())} such rows"
        )
    return values


def read_index(path: str | Path) -> list[str]:
    """The first column of a landmark file, as written, where it names the points; else 1, 2, ...

    Raises:
        InputError: as ``read_points`` does for the file and its columns.
    """
    table, x, y = _read_table(path)
    first = table.columns[0]
    return [str(i + 1) for i in range(len(table))] if first in (x, y) else [str(v) for v in table[first]]


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
