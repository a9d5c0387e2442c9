"""Landmark files: one point a row, columns X and Y in pixels; matched by their names where both files have them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from custom_components.common.arrays import Index, Points
from custom_components.common.errors import InputError
from custom_components.pairs.atomic import atomic_path
from custom_components.pairs.cells import cell_text
from custom_components.pairs.point_table import PointTable, read_point_table

# columns that name a point wherever they stand, in the order in which they are asked
NAMES = ("name", "label", "landmark", "landmark_id", "landmark_name", "point", "point_id", "point_name")
SAID = 5  # names in a message


@dataclass(frozen=True)
class Landmarks:
    """A landmark file.

    Attributes:
        file: it was read from.
        points: (N, 2) row, col pixels, centres at integers; NaN in rows that hold no point.
        index: N entries of the first column, as written, where it is no coordinate; else 1, 2, ...
        names: N different names, where the file has them; else None.
        counted: the names are no more than the numbers of the rows, from 0 or 1 on.
        notes: what a user should know of how it was read.
    """

    file: Path
    points: Points
    index: list[str]
    names: list[str] | None
    counted: bool = False
    notes: tuple[str, ...] = ()

    @property
    def known(self) -> Index:
        """Numbers of the rows that hold a point."""
        return np.flatnonzero(np.isfinite(self.points).all(axis=1))


@dataclass(frozen=True)
class LandmarkMatch:
    """Which rows of two files are the same structure.

    Attributes:
        moving: rows of the moving file.
        fixed: rows of the fixed file, in the same order.
        notes: what was left out and why, a sentence each.
    """

    moving: Index
    fixed: Index
    notes: tuple[str, ...] = ()


def read_landmarks(path: str | Path, side: str = "moving") -> Landmarks:
    """Points of a landmark file and their names.

    Pixel centres are at integers; QuPath's centroids in pixels, which begin half a pixel before, are shifted.

    Args:
        path: see ``read_point_table``.
        side: "moving" or "fixed", whose points are taken of BigWarp's landmarks, which have both.

    Raises:
        InputError: no such file, no columns X and Y, no rows, micrometres, or a value that is not a finite number.
    """
    table = read_point_table(path, side)
    if table.unit == "micrometre":
        found = f"{table.header[table.x]} and {table.header[table.y]}"
        raise InputError(
            f"landmarks {path} need columns X and Y in pixels, found {found} (micrometres); divide them by the size of "
            "a pixel, or carry them afterwards with warpzoo apply --points"
        )
    notes = table.notes
    if table.columns.program == "ImageJ":
        notes += (
            f"{table.file.name} is a table of results of ImageJ and read as pixels; if the image was calibrated there, "
            "its numbers are of another unit: measure again after Image > Properties with pixels",
        )
    points = np.asarray(table.points()[:, ::-1] - 0.5 * table.centroid)
    names = _names(table)
    counts = [str(number) for number in range(len(points) + 1)]
    return Landmarks(table.file, points, _index(table), names, names in (counts[:-1], counts[1:]), notes)


def read_points(path: str | Path, side: str = "moving") -> Points:
    """(N, 2) row, col pixels of a landmark file, see ``read_landmarks``; NaN in rows that hold no point."""
    return read_landmarks(path, side).points


def read_index(path: str | Path) -> list[str]:
    """The first column of a landmark file, as written, where it names the points; else 1, 2, ...

    Raises:
        InputError: as ``read_points`` does.
    """
    return read_landmarks(path).index


def write_points(path: str | Path, points: Points, index: Sequence[str] | None = None) -> None:
    """Write (N, 2) row, col pixels with the header ``,X,Y``, whole or not at all; NaN as empty cells.

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


def match_landmarks(moving: Landmarks, fixed: Landmarks, called: tuple[str, str] | None = None) -> LandmarkMatch:
    """Which rows of both files are the same structure: those of one name, or of one number where there are no names.

    Files without names, with names that only count the rows, or with names that have nothing in common, are matched
    row by row; where one is longer, its last rows are left out, as BIRL does. Rows without a point are left out.

    Args:
        moving: of the moving image.
        fixed: of the fixed image.
        called: both files in messages; their names by default.

    Raises:
        InputError: neither the names nor the number of rows agree, or no row with a point is left.
    """
    what = called or (moving.file.name, fixed.file.name)
    sizes = f"{what[0]} has {len(moving.points)} landmarks, {what[1]} has {len(fixed.points)}"
    found, named = None, not (moving.counted and fixed.counted)
    if named and moving.names is not None and fixed.names is not None:
        found = _by_name(moving.names, fixed.names, what)
        named = not (moving.counted or fixed.counted)
        if found is None and named and len(moving.points) != len(fixed.points):
            raise InputError(
                f"{sizes}, and no name stands in both ({_said(moving.names)}; {_said(fixed.names)}); give the same "
                "structure the same name, or leave the names out"
            )
    if found is None:
        found = _by_order(len(moving.points), len(fixed.points), sizes)
        if named and moving.names is not None and fixed.names is not None:
            note = f"no name stands in both {what[0]} and {what[1]}: row i of both is taken for one landmark"
            found = LandmarkMatch(found.moving, found.fixed, (note,))
    both = np.isin(found.moving, moving.known) & np.isin(found.fixed, fixed.known)
    notes = found.notes
    if not both.all():
        notes += (f"{int((~both).sum())} landmarks have no point in one of {what[0]} and {what[1]}; they are left out",)
    if not both.any():
        raise InputError(f"{what[0]} and {what[1]} have no landmark in common; give the same structure the same name")
    return LandmarkMatch(found.moving[both], found.fixed[both], notes)


def _by_name(moving: list[str], fixed: list[str], what: tuple[str, str]) -> LandmarkMatch | None:
    """The rows of one name, in the order of the moving file; None where there are none."""
    places = {name: row for row, name in enumerate(fixed)}
    rows = [(row, places[name]) for row, name in enumerate(moving) if name in places]
    if not rows:
        return None
    pairs = np.array(rows, dtype=np.int64)
    alone = [name for name in moving if name not in places], sorted(set(fixed) - set(moving))
    notes = tuple(
        f"{len(names)} landmarks stand in {mine} and not in {other} ({_said(names)}); the {len(rows)} in both are "
        "compared, by their names"
        for names, mine, other in zip(alone, what, what[::-1], strict=True)
        if names
    )
    if not notes and (pairs[:, 0] != pairs[:, 1]).any():
        notes = (f"{what[0]} and {what[1]} have their landmarks in another order; they are matched by their names",)
    return LandmarkMatch(pairs[:, 0], pairs[:, 1], notes)


def _by_order(moving: int, fixed: int, sizes: str) -> LandmarkMatch:
    rows = np.arange(min(moving, fixed), dtype=np.int64)
    if moving == fixed:
        return LandmarkMatch(rows, rows)
    return LandmarkMatch(rows, rows, (f"{sizes}; row i of both is taken for one landmark, the first {len(rows)}",))


def _said(names: Sequence[str]) -> str:
    return ", ".join(names[:SAID]) + (", ..." if len(names) > SAID else "")


def _index(table: PointTable) -> list[str]:
    named = 0 not in (table.x, table.y)
    return list(map(cell_text, table.cells[0])) if named else [str(i + 1) for i in range(len(table.cells))]


def _names(table: PointTable) -> list[str] | None:
    """Of the first column that names each row otherwise; None where none does."""
    header = [name.strip().lower() for name in table.header]
    places = [header.index(name) for name in NAMES if name in header and table.columns.program != "ImageJ"]
    for place in [*places, 0]:
        if place in (table.x, table.y):
            continue
        names = [_canonical(cell_text(cell)) for cell in table.cells[place]]
        if "" in names or len(set(names)) < len(names) or any(_is_measured(name) for name in names):
            continue
        return names
    return None


def _canonical(name: str) -> str:
    """As names are compared: 3.0 of a program that writes numbers with a point is 3."""
    plain = name.strip()
    whole, _, rest = plain.partition(".")
    return whole if rest and whole.isdigit() and not rest.strip("0") else plain


def _is_measured(name: str) -> bool:
    """Whether it is a number with a fraction, which measures something rather than names it."""
    try:
        return not float(name).is_integer()
    except ValueError:
        return False
    except OverflowError:
        return True
