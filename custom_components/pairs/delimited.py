"""Tables as laboratories write them: text in any separator, decimal mark and encoding, Excel and Parquet.

One reader for pair tables, section tables, landmarks and points. Text keeps its cells as they are written, so that a
table that is written again differs in nothing but what was changed.
"""

from __future__ import annotations

import csv
import gzip
import io
import itertools
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from custom_components.common.errors import InputError
from custom_components.common.limits import check_unpacked, unpacked_limit
from custom_components.pairs import sheets
from custom_components.pairs.atomic import atomic_path
from custom_components.pairs.formats import UNREADABLE

SEPARATORS = ",;\t"
SAMPLED = 50  # lines that the separator is guessed from
HINT = re.compile(r"sep=(.)\r?\n", re.IGNORECASE)  # Excel's first line
MARKS = (b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")  # byte order marks: UTF-8, UTF-16 LE and BE
WINDOWS_UNUSED = re.compile(rb"[\x81\x8d\x8f\x90\x9d\x00]")  # bytes that no text of Windows-1252 has


@dataclass(frozen=True)
class Table:
    """A table as read.

    Attributes:
        file: it was read from.
        form: "text", "excel" or "parquet".
        header: names of the columns as written.
        cells: of all rows below the header; column i is ``cells[i]``. Text of text, else values as the file has them.
        separator: between the cells of text.
        encoding: of text, as Python calls it.
        native: of Parquet, the Arrow table.
        notes: what a user should know of how it was read, a sentence each.
    """

    file: Path
    form: str
    header: tuple[str, ...]
    cells: pd.DataFrame
    separator: str = ","
    encoding: str = "utf-8"
    native: Any = None
    notes: tuple[str, ...] = ()


def read_table(path: str | Path, what: str = "table") -> Table:
    """A table with its first row as the header, whatever its form; which one it is, is seen in its first bytes.

    Args:
        path: text (comma, semicolon or tab; UTF-8, UTF-16 or Windows-1252; also ``.gz``), ``.xlsx`` or ``.parquet``.
        what: the file is called in messages.

    Raises:
        InputError: no table can be read, or a package for its form is missing.
    """
    file = Path(path)
    if file.exists() and not file.is_file():
        raise InputError(f"{what} {file} is not a file")
    try:
        with file.open("rb") as stream:
            start = stream.read(8)
        if start.startswith(sheets.PARQUET):
            native = sheets.read_parquet(file, what)
            header, cells = sheets.parquet_cells(native)
            return Table(file, "parquet", header, cells, native=native)
        if start.startswith(sheets.ZIP):
            rows, notes = sheets.read_excel(file, what)
            header, cells = _framed(rows, file, what)
            return Table(file, "excel", header, cells, notes=notes)
        if start.startswith(sheets.OLD_EXCEL):
            raise InputError(f"{what} {file} is an old Excel file (.xls); save it as .xlsx or CSV")
        content = _unpacked(file, what) if start.startswith(b"\x1f\x8b") else file.read_bytes()
        return _read_text(file, content, what)
    except InputError:
        raise
    except UNREADABLE as error:
        raise InputError(f"{what} {file} can't be read: {str(error)[:300]}") from error


def write_table(path: str | Path, table: Table, headed: bool = True) -> None:
    """Write a table in the form that it was read in, whole or not at all; text is gzipped where the name ends in .gz.

    Args:
        path: the file; a suffix of another form than the table's is refused.
        table: as read, with other cells.
        headed: write the header; of text only.

    Raises:
        InputError: the name is of another form, or the file can't be written.
    """
    suffix = Path(path).suffix.lower()
    form = {".xlsx": "excel", ".parquet": "parquet"}.get(suffix, "text")
    if form != table.form:
        wanted = {"excel": ".xlsx", "parquet": ".parquet", "text": ".csv"}[table.form]
        raise InputError(f"{path} can't be written: {table.file} is {table.form}, so let the result end in {wanted}")
    with atomic_path(path) as partial:
        if form == "parquet":
            sheets.write_parquet(partial, table.native, table.cells, table.header)
        elif form == "excel":
            sheets.write_excel(partial, table.header, table.cells)
        else:
            opened = gzip.open if suffix == ".gz" else open
            with opened(partial, "wt", encoding=table.encoding, newline="") as stream:
                table.cells.to_csv(
                    stream, sep=table.separator, header=list(table.header) if headed else False, index=False,
                    lineterminator="\n",
                )  # fmt: skip


def split_row(line: str, separator: str) -> list[str]:
    """The cells of one line of text, quotes understood."""
    return next(csv.reader([line], delimiter=separator), [])


def _unpacked(file: Path, what: str) -> bytes:
    with gzip.open(file) as stream:
        content = stream.read(unpacked_limit(file) + 1)
    check_unpacked(file, len(content), what)
    return content


def _read_text(file: Path, content: bytes, what: str) -> Table:
    text, encoding = _decoded(content, file, what)
    hint = HINT.match(text)
    if hint:
        text = text[hint.end() :]
    text = text.strip("\r\n")
    if not text:
        raise InputError(f"{what} {file} can't be read as CSV: it is empty")
    separator = hint[1] if hint else _separator(text)
    try:
        # empty lines are rows: what stands below them keeps its number; bytes are read faster than text
        table = pd.read_csv(
            io.BytesIO(text.encode("utf-8")), sep=separator, header=None, dtype=object, keep_default_na=False,
            low_memory=False, skip_blank_lines=False,
        )  # fmt: skip
    except ValueError as error:  # pandas' own errors are ValueErrors
        reason = " ".join(str(error).split())
        if "Expected" in reason and "saw" in reason:
            reason += "; there are rows with more cells than the header has columns"
        raise InputError(f"{what} {file} can't be read as CSV: {reason}") from error
    missing = table.isna()
    if missing.any(axis=None):
        table = table.where(~missing, "")
    header, cells = tuple(str(name) for name in table.iloc[0]), table.iloc[1:].reset_index(drop=True)
    return Table(file, "text", header, cells, separator, encoding)


def _decoded(content: bytes, file: Path, what: str) -> tuple[str, str]:
    """(text, encoding) of bytes; Windows-1252 is what is neither UTF-8 nor UTF-16."""
    start = content[:1000]
    encodings = ["utf-8", "cp1252"]
    if start.startswith(MARKS[0]):
        encodings = ["utf-8-sig"]
    elif start.startswith(MARKS[1:]):
        encodings = ["utf-16"]
    elif start.count(0) > len(start) // 4:  # every other byte of text in UTF-16 is 0
        encodings = ["utf-16-be" if start[:1] == b"\0" else "utf-16-le"]
    for encoding in encodings:
        if encoding == "cp1252" and WINDOWS_UNUSED.search(content):
            break
        try:
            text = content.decode(encoding)
        except UnicodeError:
            continue
        if "\0" not in text:
            return text, encoding
    raise InputError(
        f"{what} {file} can't be read as CSV: it is no text in UTF-8, UTF-16 or Windows-1252; save it as CSV in UTF-8"
    )


def _separator(text: str) -> str:
    """What separates cells: the mark that the header has and that cuts most lines into as many cells as the header.

    The numbers alone don't tell, as their decimal mark may be a comma.
    """
    lines = [line for line in itertools.islice(io.StringIO(text), SAMPLED) if line.strip()]

    def fit(separator: str) -> tuple[float, int]:
        try:
            counts = [len(split_row(line, separator)) for line in lines]
        except csv.Error:  # a cell that is longer than any is
            return -1.0, 0
        return (sum(count == counts[0] for count in counts) / len(counts) if counts[0] > 1 else -1.0), counts[0]

    return max(SEPARATORS, key=fit)


def _framed(rows: list[tuple[Any, ...]], file: Path, what: str) -> tuple[tuple[str, ...], pd.DataFrame]:
    """(header, cells) of the rows of a sheet, whose empty rows and columns at the end are none."""
    while rows and all(cell is None for cell in rows[-1]):
        rows = rows[:-1]
    if not rows:
        raise InputError(f"{what} {file} can't be read: its first sheet is empty")
    width = max(max((i + 1 for i, cell in enumerate(row) if cell is not None), default=0) for row in rows)
    padded = [(*row, *(None,) * (width - len(row)))[:width] for row in rows]
    header = tuple("" if cell is None else str(cell) for cell in padded[0])
    return header, pd.DataFrame(padded[1:], columns=range(width), dtype=object)
