"""Tables with a point a row: landmarks, measurements of QuPath and ImageJ, cells and what else is known of them."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from custom_components.common.arrays import Points
from custom_components.common.errors import InputError
from custom_components.pairs.delimited import Table, read_table, write_table
from custom_components.pairs.point_columns import Columns, find_columns
from custom_components.pairs.sheets import to_well_known, well_known_points

DECIMALS = 4
BLANK = ("", "nan", "na", "n/a", "null", "none", "<na>", "-")  # cells that hold no number on purpose
COMMA = r"[+-]?\d*,\d+(?:[eE][+-]?\d+)?"  # a number with a decimal comma
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class PointTable:
    """A table as read, and which of its columns are coordinates.

    Attributes:
        table: all of it.
        columns: which hold the points.
        values: (N, 2) x, y as in the file; NaN in rows that hold none.
        comma: the decimal mark is a comma.
        notes: what a user should know of how it was read, a sentence each.
    """

    table: Table
    columns: Columns
    values: Points
    comma: bool = False
    notes: tuple[str, ...] = ()

    @property
    def file(self) -> Path:
        """It was read from."""
        return self.table.file

    @property
    def separator(self) -> str:
        """Between its cells."""
        return self.table.separator

    @property
    def header(self) -> tuple[str, ...]:
        """Names of its columns."""
        return self.columns.header

    @property
    def cells(self) -> pd.DataFrame:
        """All rows below the header; column i is ``cells[i]``."""
        return self.table.cells

    @property
    def x(self) -> int:
        """Column of x."""
        return self.columns.x

    @property
    def y(self) -> int:
        """Column of y."""
        return self.columns.y

    @property
    def unit(self) -> str | None:
        """Of x and y, "pixel" or "micrometre", where the columns' names or the program's custom say so, else None."""
        return self.columns.unit

    @property
    def centroid(self) -> bool:
        """The columns are QuPath's centroids, whose (0, 0) is the outer corner of the first pixel."""
        return self.columns.centroid

    def points(self) -> Points:
        """(N, 2) x, y as in the file; NaN in rows that hold none."""
        return self.values

    def with_points(self, points: Points) -> PointTable:
        """The same table with other (N, 2) x, y; rows that hold no point stay as they are."""
        cells = self.cells.copy()
        good = np.asarray(np.isfinite(self.values).all(axis=1))
        rounded = points.round(DECIMALS)
        if self.x == self.y:
            cells[self.x] = to_well_known(np.where(good[:, None], rounded, np.nan))
        else:
            for place, values in ((self.x, rounded[:, 0]), (self.y, rounded[:, 1])):
                cells[place] = self._written(cells[place], values, good)
        return replace(self, table=replace(self.table, cells=cells), values=np.where(good[:, None], points, np.nan))

    def with_column(self, place: int, values: Points) -> PointTable:
        """The same table with other (N,) numbers in one column, such as z; rows that hold no point stay as they are."""
        cells, good = self.cells.copy(), np.asarray(np.isfinite(self.values).all(axis=1))
        cells[place] = self._written(cells[place], values.round(DECIMALS), good)
        return replace(self, table=replace(self.table, cells=cells))

    def with_named_column(self, name: str, values: Points) -> PointTable:
        """The same table with (N,) numbers in the column ``name``.

        A new one comes last; in a table that ends with its coordinates it comes before them, as many programs read the
        last two columns of such a table, or all that follow an index.
        """
        if name in self.header:
            return self.with_column(self.header.index(name), values)
        x, y, count = self.x, self.y, len(self.header)
        ends = sorted((x, y)) == [count - 2, count - 1]
        place = count - 2 if ends else count
        header = (*self.header[:place], name, *self.header[place:])
        cells = self.cells.copy()
        cells.insert(place, "new", {"parquet": np.nan, "excel": None}.get(self.table.form, ""))
        cells.columns = pd.RangeIndex(count + 1)
        grown = replace(self.table, header=header, cells=cells)
        longer = replace(self, table=grown, columns=replace(self.columns, header=header, x=x + ends, y=y + ends))
        return longer.with_column(place, values)

    def _written(self, given: Any, values: Points, good: Flags) -> Any:
        if self.table.form == "parquet":
            return np.where(good, values, np.nan)
        written: list[Any] = values.tolist()
        if self.table.form == "text":
            written = list(map(repr, written))
            if self.comma:
                written = [value.replace(".", ",") for value in written]
        if not good.all():
            written = [new if is_good else old for new, old, is_good in zip(written, given, good, strict=True)]
        return pd.Series(written, dtype=object)


def read_point_table(path: str | Path, side: str = "moving") -> PointTable:
    """Read a table of points in any form of ``delimited.read_table`` with columns of ``point_columns.find_columns``.

    Args:
        path: such as a CSV with columns X and Y, or with QuPath's "Centroid X µm" and "Centroid Y µm"; any case.
        side: "moving" or "fixed", whose points are taken of BigWarp's landmarks, which have both.

    Raises:
        InputError: no such file, no such columns, no rows, a row with half a point, or a value that is not a finite
            number.
    """
    file = Path(path)
    if not file.is_file():
        raise InputError(f"landmarks {file} do not exist")
    table = read_table(file, "landmarks")
    geometry = _geometry_column(table)
    if geometry is not None:
        columns, values = Columns(table.header, geometry, geometry), well_known_points(table.cells[geometry])
        if values is None:
            raise InputError(
                f"landmarks {file}: column '{table.header[geometry]}' does not hold points; outlines are annotations "
                "(apply --geojson)"
            )
        return _checked(PointTable(table, columns, values), ())
    columns = find_columns(file, table.header, side)
    if not columns.headed:
        first = pd.DataFrame([table.header], columns=table.cells.columns)
        table = replace(table, header=columns.header, cells=pd.concat([first, table.cells], ignore_index=True))
    read = [_numbers(table.cells[place], table, columns) for place in (columns.x, columns.y)]
    values = np.stack([numbers for numbers, _, _ in read], axis=1)
    comma = any(with_comma for _, _, with_comma in read)
    _check_finite(table, columns, values, np.stack([blank for _, blank, _ in read], axis=1))
    notes: tuple[str, ...] = ()
    if comma:
        notes += (f"{file.name}: numbers are read with a decimal comma, so that 1,250 is 1.25",)
    return _checked(PointTable(table, columns, values, comma), notes)


def write_point_table(path: str | Path, table: PointTable) -> None:
    """Write a table in the form and with the columns that it was read with, whole or not at all.

    Raises:
        InputError: the file can't be written, or its suffix is of another form.
    """
    write_table(path, table.table, table.columns.headed)


def _checked(found: PointTable, notes: tuple[str, ...]) -> PointTable:
    """The table with the notes on it; raises where it holds no point."""
    file, empty = found.file, int(np.isnan(found.values).any(axis=1).sum())
    if len(found.values) == 0:
        raise InputError(f"landmarks {file} have no rows")
    if empty == len(found.values):
        raise InputError(f"landmarks {file} have no points, only {empty} rows without one")
    if empty:
        first = int(np.isnan(found.values).any(axis=1).argmax()) + 1 + found.columns.headed
        notes += (
            f"{file.name}: {empty} of {len(found.values)} rows hold no point (the first is row {first}); they keep "
            "their places",
        )
    if found.columns.program == "BigWarp":
        off = int((found.cells[1].str.strip().str.lower() == "false").sum())
        notes += (f"{file.name}: {off} points are switched off in BigWarp and read all the same",) if off else ()
    return replace(found, notes=(*found.table.notes, *notes))


def _geometry_column(table: Table) -> int | None:
    """The place of GeoParquet's main column of geometries."""
    if table.native is None:
        return None
    text = (table.native.schema.metadata or {}).get(b"geo")
    if text is None:
        return None
    name = json.loads(text).get("primary_column", "geometry")
    return table.header.index(name) if name in table.header else None


def _numbers(cells: Any, table: Table, columns: Columns) -> tuple[Points, Flags, bool]:
    """(values, which cells are empty on purpose, whether decimal commas were read) of one column."""
    values = pd.to_numeric(cells, errors="coerce").to_numpy(np.float64, na_value=np.nan).copy()
    odd = ~np.isfinite(values)
    blank, comma = np.zeros(len(values), dtype=bool), False
    if not odd.any():
        return values, blank, comma
    text = pd.Series(["" if cell is None else str(cell) for cell in cells[odd]], dtype=object).str.strip()
    places = np.flatnonzero(odd)
    empty = text.str.lower().isin(BLANK)
    if columns.program == "BigWarp":  # a point that was set in one image only
        empty |= text.str.lower().isin(("infinity", "-infinity"))
        values[places[empty.to_numpy()]] = np.nan
    blank[places[empty.to_numpy()]] = True
    with_comma = text.str.fullmatch(COMMA).to_numpy(dtype=bool)
    if table.form == "text" and table.separator != "," and with_comma.any():
        pointed = cells[~odd].astype(str).str.contains(".", regex=False)
        if pointed.any():
            raise InputError(
                f"landmarks {table.file} have numbers with a comma ('{text[with_comma].iloc[0]}') and with a point "
                f"('{cells[~odd][pointed].iloc[0]}') in one column; save them with one decimal mark"
            )
        values[places[with_comma]] = text[with_comma].str.replace(",", ".").astype(float).to_numpy()
        comma = True
    return values, blank, comma


def _check_finite(table: Table, columns: Columns, values: Points, blank: npt.NDArray[np.bool_]) -> None:
    bad = ~np.isfinite(values).all(axis=1) & ~blank.all(axis=1)
    if not bad.any():
        return
    row = int(bad.argmax())
    found = [str(table.cells[place].iloc[row]) for place in (columns.x, columns.y)]
    comma = table.separator == "," and any("," in cell for cell in found)
    raise InputError(
        f"landmarks {table.file}: row {row + 1 + columns.headed} has no finite {columns.header[columns.x]} and "
        f"{columns.header[columns.y]}; {int(bad.sum())} such rows; it reads '{found[0]}' and '{found[1]}'"
        + ("; numbers with a decimal comma need ; or tab between the cells, or write a point" if comma else "")
    )
