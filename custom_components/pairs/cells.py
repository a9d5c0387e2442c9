"""CSV tables as text."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from custom_components.common.errors import InputError


def read_cells(file: Path, what: str) -> pd.DataFrame:
    """The cells of a CSV file as stripped text, empty ones as "".

    Args:
        file: with one line of column names.
        what: the table is called in messages.

    Raises:
        InputError: no such file, or no table.
    """
    if not file.is_file():
        raise InputError(f"{what} {file} does not exist")
    try:
        table = pd.read_csv(file, dtype=str, keep_default_na=False, encoding="utf-8-sig").fillna("")
    except (OSError, ValueError) as error:  # pandas' own errors and wrong encodings are ValueErrors
        raise InputError(f"{what} {file} can't be read as CSV: {error}") from error
    if not isinstance(table.index, pd.RangeIndex):  # pandas took the first of too many cells for an index
        raise InputError(f"{what} {file} has rows with more cells than the header has columns")
    return table.rename(columns=str.strip).map(str.strip)
