"""Tables with a point a row: landmarks, QuPath's measurement tables, cells with whatever else is known of them."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from custom_components.common.arrays import Points
from custom_components.common.errors import InputError
from custom_components.pairs.atomic import atomic_path

SEPARATORS = ",;\t"
DECIMALS = 4
# "x", "X (px)", "Centroid Y µm"; QuPath writes the last ones, with the micro sign
NAME = re.compile(r"(?P<centroid>centroid )?(?P<axis>[xy])(?:[ _]?[(\[]?(?P<unit>µm|um|microns?|px|pixels?)[)\]]?)?")
MICROMETRES = ("µm", "um", "micron", "microns")


@dataclass(frozen=True)
class PointTable:
    """A table as read, and which of its columns are coordinates.

    Attributes:
        file: it was read from.
        separator: between its cells.
        header: its first row, as written.
        cells: all other rows as text; column i is ``cells[i]``.
        x: column of x.
        y: column of y.
        unit: "pixel" or "micrometre" where the columns' names say so, else None.
        centroid: the columns are QuPath's centroids, whose (0, 0) is the outer corner of the first pixel.
    """

    file: Path
    separator: str
    header: tuple[str, ...]
    cells: pd.DataFrame
    x: int
    y: int
    unit: str | None
    centroid: bool

    def points(self) -> Points:
        """(N, 2) x, y as in the file.

        Raises:
            InputError: a value that is not a finite number.
        """
        columns = [pd.to_numeric(self.cells[place], errors="coerce").to_numpy(np.float64) for place in (self.x, self.y)]
        values: Points = np.stack(columns, axis=1)
        bad = ~np.isfinite(values).all(axis=1)
        if bad.any():
            raise InputError(
                f"landmarks {self.file}: row {int(bad.argmax()) + 2} has no finite {self.header[self.x]} and "
                f"{self.header[self.y]}; {int(bad.sum())} such rows"
            )
        return values

    def with_points(self, points: Points) -> PointTable:
        """The same table with other (N, 2) x, y."""
        cells = self.cells.copy()
        for place, values in ((self.x, points[:, 0]), (self.y, points[:, 1])):
            cells[place] = [repr(value) for value in values.round(DECIMALS).tolist()]
        return replace(self, cells=cells)


def read_point_table(path: str | Path) -> PointTable:
    """Read a table with columns X and Y, or QuPath's "Centroid X µm" and "Centroid Y µm" (or px); any case.

    Args:
        path: comma, semicolon or tab between the cells, UTF-8. Where there are several such pairs of columns, X and Y
            without a unit come first, then the leftmost.

    Raises:
        InputError: no such file, no such columns, or no rows.
    """
    file = Path(path)
    if not file.is_file():
        raise InputError(f"landmarks {file} do not exist")
    try:
        with file.open(encoding="utf-8-sig") as lines:
            first = lines.readline()
        separator = max(SEPARATORS, key=first.count)  # the header decides; guessing from the numbers goes wrong
        table = pd.read_csv(
            file, sep=separator, header=None, dtype=str, keep_default_na=False, encoding="utf-8-sig", low_memory=False
        ).fillna("")
    except (OSError, ValueError) as error:  # pandas' own errors and wrong encodings are ValueErrors
        raise InputError(f"landmarks {file} can't be read as CSV: {error}") from error
    header = tuple(str(name) for name in table.iloc[0])
    x, y, unit, centroid = _coordinate_columns(file, header)
    if len(table) < 2:
        raise InputError(f"landmarks {file} have no rows")
    return PointTable(file, separator, header, table.iloc[1:].reset_index(drop=True), x, y, unit, centroid)


def write_point_table(path: str | Path, table: PointTable) -> None:
    """Write a table with the separator and columns that it was read with, whole or not at all.

    Raises:
        InputError: the file can't be written.
    """
    with atomic_path(path) as partial:
        table.cells.to_csv(partial, sep=table.separator, header=list(table.header), index=False, lineterminator="\n")


def _coordinate_columns(file: Path, header: tuple[str, ...]) -> tuple[int, int, str | None, bool]:
    """(x, y, unit, centroid) of the columns that hold the points."""
    found: dict[tuple[bool, str], dict[str, int]] = {}
    for place, name in enumerate(header):
        match = NAME.fullmatch(" ".join(name.lower().replace("μ", "µ").split()))
        if match:
            kind = (match["centroid"] is not None, match["unit"] or "")
            found.setdefault(kind, {}).setdefault(match["axis"], place)
    whole = {kind: axes for kind, axes in found.items() if len(axes) == 2}
    if not whole:
        raise InputError(
            f"landmarks {file} need columns X and Y, found {', '.join(header)} "
            "(QuPath's Centroid X px and Centroid Y px do as well)"
        )
    kind = (False, "") if (False, "") in whole else min(whole, key=lambda kind: whole[kind]["x"])
    centroid, word = kind
    unit = None if word == "" else "micrometre" if word in MICROMETRES else "pixel"
    return whole[kind]["x"], whole[kind]["y"], unit, centroid
