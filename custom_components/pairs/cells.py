"""Tables of files and names as text."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from custom_components.common.errors import InputError
from custom_components.pairs.delimited import read_table


def cell_text(cell: Any) -> str:
    """A cell as stripped text: "" of an empty one, whole numbers of Excel without a point."""
    if isinstance(cell, str):
        return cell.strip()
    if cell is None or cell is pd.NA or cell is pd.NaT or (isinstance(cell, float) and cell != cell):
        return ""
    return str(int(cell)) if isinstance(cell, float) and cell.is_integer() else str(cell).strip()


def read_cells(file: Path, what: str) -> pd.DataFrame:
    """The cells of a table as stripped text, empty ones as ""; rows without a word are left out.

    Args:
        file: with one line of column names, in any form of ``delimited.read_table``.
        what: the table is called in messages.

    Returns:
        With the names of the columns. Its index plus 2 is the row in the file.

    Raises:
        InputError: no such file, or no table.
    """
    if not file.is_file():
        raise InputError(f"{what} {file} does not exist")
    table = read_table(file, what)
    header = [name.strip() for name in table.header]
    cells = table.cells.map(cell_text).set_axis(range(len(header)), axis=1)
    names = [name or f"Unnamed: {place}" for place, name in enumerate(header)]
    cells.columns = pd.Index(
        [
            name if name not in names[:place] else f"{name}.{names[:place].count(name)}"
            for place, name in enumerate(names)
        ]
    )
    return cells[(cells != "").any(axis=1)] if len(cells) else cells
