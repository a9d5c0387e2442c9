"""Tables in Excel and Parquet files; the packages that read them are optional."""

from __future__ import annotations

import importlib
import io
import json
import math
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from custom_components.common.arrays import Points
from custom_components.common.errors import InputError
from custom_components.common.limits import check_unpacked
from custom_components.pairs.formats import UNREADABLE

PARQUET, ZIP, OLD_EXCEL = b"PAR1", b"PK\x03\x04", b"\xd0\xcf\x11\xe0"


def optional_package(name: str, file: Path, what: str) -> Any:
    """The module ``name``, which reads ``file``.

    Raises:
        InputError: it is not installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        package = name.partition(".")[0]
        raise InputError(
            f"{what} {file} needs the package {package}, which is not installed: pip install warpzoo[tables]"
        ) from error


def read_excel(file: Path, what: str) -> tuple[list[tuple[Any, ...]], tuple[str, ...]]:
    """(rows of the first sheet, notes); empty cells are None, formulas what they gave when the file was saved.

    Raises:
        InputError: openpyxl is missing, or the file is no workbook.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            parts = archive.infolist()
    except UNREADABLE as error:
        raise InputError(f"{what} {file} can't be read, it may be damaged: {error}") from error
    if "xl/workbook.xml" not in {part.filename for part in parts}:
        raise InputError(f"{what} {file} is a zip file and no Excel table; unpack it first")
    check_unpacked(file, sum(part.file_size for part in parts), what)
    openpyxl = optional_package("openpyxl", file, what)
    try:
        book = openpyxl.load_workbook(io.BytesIO(file.read_bytes()), read_only=True, data_only=True)
        names = book.sheetnames
        rows = list(book.worksheets[0].iter_rows(values_only=True))
    except Exception as error:  # openpyxl raises whatever it meets in a damaged file
        raise InputError(f"{what} {file} can't be read as an Excel table: {error}") from error
    more = f"{file.name}: of {len(names)} sheets the first, '{names[0]}', is read"
    return rows, (more,) if len(names) > 1 else ()


def write_excel(path: Path, header: tuple[str, ...], cells: pd.DataFrame) -> None:
    """One sheet with the values of the cells."""
    openpyxl = optional_package("openpyxl", path, "table")
    book = openpyxl.Workbook(write_only=True)
    sheet = book.create_sheet("Sheet1")
    kind = optional_package("openpyxl.cell", path, "table").WriteOnlyCell

    def entry(value: Any) -> Any:
        if isinstance(value, float) and math.isnan(value):
            return None
        if not isinstance(value, str):
            return value
        cell = kind(sheet, value)
        cell.data_type = "s"  # text that begins with = was text, and not a formula
        return cell

    for row in (header, *cells.itertuples(index=False, name=None)):
        sheet.append([entry(value) for value in row])
    # by a stream, as openpyxl takes names for formats
    stream = io.BytesIO()
    book.save(stream)
    path.write_bytes(stream.getvalue())


def read_parquet(file: Path, what: str) -> Any:
    """The Arrow table of a Parquet file.

    Raises:
        InputError: pyarrow is missing, or the file is damaged.
    """
    parquet = optional_package("pyarrow.parquet", file, what)
    try:
        opened = parquet.ParquetFile(file)
        stated = opened.metadata
        groups = (stated.row_group(number).total_byte_size for number in range(stated.num_row_groups))
        # columns of one value take next to nothing in the file
        check_unpacked(file, max(sum(groups), 8 * stated.num_rows * stated.num_columns), what)
        return opened.read()
    except InputError:
        raise
    except Exception as error:  # pyarrow has errors of its own beside the usual ones
        raise InputError(f"{what} {file} can't be read as Parquet: {str(error).splitlines()[0]}") from error


def parquet_cells(native: Any) -> tuple[tuple[str, ...], pd.DataFrame]:
    """(header, cells) of an Arrow table."""
    columns = [column.to_pandas() for column in native.columns]
    return tuple(map(str, native.column_names)), pd.DataFrame(dict(enumerate(columns)))


def write_parquet(path: Path, native: Any, cells: pd.DataFrame, header: tuple[str, ...]) -> None:
    """An Arrow table with those columns replaced whose cells are other ones now, further ones added; metadata are kept.

    But for the bounding box of GeoParquet, which is that of the points before.
    """
    arrow, parquet = (optional_package(name, path, "table") for name in ("pyarrow", "pyarrow.parquet"))
    table = native
    for place, name in enumerate(native.column_names):
        if not native.column(place).to_pandas().equals(cells[place]):
            kind = native.schema.field(place).type
            values = arrow.array(cells[place], from_pandas=True)
            if arrow.types.is_floating(kind) and not arrow.types.is_float16(kind) and len(values):
                values = values.cast(arrow.float64())
            table = table.set_column(place, name, values)
    for place in range(native.num_columns, len(header)):
        table = table.append_column(header[place], arrow.array(cells[place], from_pandas=True))
    metadata = dict(table.schema.metadata or {})
    if b"geo" in metadata:
        geo = json.loads(metadata[b"geo"])
        for column in geo.get("columns", {}).values():
            column.pop("bbox", None)
        table = table.replace_schema_metadata(metadata | {b"geo": json.dumps(geo).encode()})
    parquet.write_table(table, path)


def well_known_points(cells: pd.Series[Any]) -> Points | None:
    """(N, 2) x, y of a column of GeoParquet's points (WKB), NaN where there is none; None where it isn't one."""
    import shapely

    given = cells[cells.notna()]
    if given.empty or not isinstance(given.iloc[0], bytes):
        return None
    try:
        shapes = shapely.from_wkb(np.asarray(given, dtype=object))
    except shapely.errors.GEOSException:
        return None
    if not (shapely.get_type_id(shapes) == shapely.GeometryType.POINT).all():
        return None
    points = np.full((len(cells), 2), np.nan)
    points[cells.notna().to_numpy()] = shapely.get_coordinates(shapes)
    return points


def to_well_known(points: Points) -> list[bytes | None]:
    """Points (N, 2) as WKB, None for those that are not finite."""
    import shapely

    good = np.isfinite(points).all(axis=1)
    found = np.full(len(points), None, dtype=object)
    found[good] = shapely.to_wkb(shapely.points(points[good]))
    return list(found)
