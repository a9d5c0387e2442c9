from __future__ import annotations

import gzip
import json
import re
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from custom_components.common import limits
from custom_components.common.errors import InputError
from custom_components.pairs import read_pairs, read_point_table, sheets, write_point_table
from custom_components.pairs.cells import cell_text, read_cells
from custom_components.pairs.delimited import read_table, write_table

ROWS = [["name", "X µm", "Y µm"], ["a, left", "1.5", "2"], ["", "3", "4"]]


def _text(separator: str) -> str:
    return "\n".join(separator.join(f'"{cell}"' if separator in cell else cell for cell in row) for row in ROWS) + "\n"


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "cp1252"])
@pytest.mark.parametrize("packed", [False, True])
def test_every_separator_and_encoding_is_read_and_written_again(
    tmp_path: Path, separator: str, encoding: str, packed: bool
) -> None:
    path = tmp_path / ("t.csv.gz" if packed else "t.csv")
    content = _text(separator).encode(encoding)
    path.write_bytes(gzip.compress(content) if packed else content)
    table = read_table(path)
    assert (table.separator, table.header) == (separator, tuple(ROWS[0]))
    assert table.cells.to_numpy().tolist() == ROWS[1:]
    again = tmp_path / f"again{''.join(path.suffixes)}"
    write_table(again, table)
    written = gzip.decompress(again.read_bytes()) if packed else again.read_bytes()
    assert written.decode(encoding) == content.decode(encoding)


@pytest.mark.parametrize(
    ("text", "separator"),
    [
        ("X;Y\n300,25;200,5\n1,5;2,5\n", ";"),
        ("name;X, left;Y, top\na;1;2\n", ";"),
        ("X\tY\n300,25\t200,5\n", "\t"),
        ("id,what;that,X\n1,a;b,2\n", ","),
        ("id,moving;fixed\n", ","),
        ("alone\n1\n", ","),
        ("\n\nX;Y\n1;2\n\n\n", ";"),
        ("sep=;\nX;Y\n1;2\n", ";"),
    ],
)
def test_the_separator_is_what_cuts_rows_as_the_header(tmp_path: Path, text: str, separator: str) -> None:
    (tmp_path / "t.csv").write_text(text)
    assert read_table(tmp_path / "t.csv").separator == separator


def test_empty_lines_are_rows(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("X,Y\n1,2\n\n,\n3,4\n\n")
    assert read_table(tmp_path / "t.csv").cells.to_numpy().tolist() == [["1", "2"], ["", ""], ["", ""], ["3", "4"]]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "it is empty"),
        (b"\n\n", "it is empty"),
        (bytes(range(256)), "no text in UTF-8, UTF-16 or Windows-1252"),
        (b"X,Y\n1,2,3\n", "more cells than the header"),
        (b"\x1f\x8b\x08\x00broken", "can't be read"),
        (b"PK\x03\x04broken", "may be damaged"),
        (b"\xd0\xcf\x11\xe0old", r"old Excel file \(\.xls\); save it as \.xlsx or CSV"),
    ],
)
def test_what_is_no_table_is_refused_by_name(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(InputError, match=message) as caught:
        read_table(tmp_path / "t.csv", "landmarks")
    assert str(tmp_path / "t.csv") in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_unpacks_to_far_more_than_a_table_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "FLAT", 1000)
    (tmp_path / "t.csv.gz").write_bytes(gzip.compress(b"X,Y\n" + b"0,0\n" * 1_000_000))
    with pytest.raises(InputError, match="unpacks to over"):
        read_table(tmp_path / "t.csv.gz")


@pytest.mark.parametrize(("name", "content"), [("openpyxl", None), ("pyarrow.parquet", b"PAR1")])
def test_a_missing_package_is_one_line_that_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, content: bytes | None
) -> None:
    path = tmp_path / "t"
    if content is None:
        import zipfile

        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("xl/workbook.xml", "")
    else:
        path.write_bytes(content)
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(
        InputError, match=r"needs the package \w+, which is not installed: pip install warpzoo\[tables\]"
    ):
        read_table(path)


NUMBERS = st.floats(-1e6, 1e6).map(lambda value: round(value, 4))


@given(
    points=st.lists(st.tuples(NUMBERS, NUMBERS), min_size=1, max_size=8),
    separator=st.sampled_from(";\t"),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "cp1252"]),
    comma=st.booleans(),
    blank=st.integers(0, 8),
)
def test_points_come_back_from_any_dialect(
    points: list[tuple[float, float]], separator: str, encoding: str, comma: bool, blank: int
) -> None:
    rows: list[tuple[str, str]] = [(repr(x), repr(y)) for x, y in points]
    if comma:
        rows = [(x.replace(".", ","), y.replace(".", ",")) for x, y in rows]
    rows.insert(min(blank, len(rows)), ("", ""))
    with TemporaryDirectory() as folder:
        path, again = Path(folder) / "t.csv", Path(folder) / "again.csv"
        text = "\n".join(separator.join(("né", *row)) for row in [("X", "Y"), *rows]) + "\n"
        path.write_bytes(text.encode(encoding))
        table = read_point_table(path)
        found = table.points()
        expected = np.insert(np.array(points), min(blank, len(points)), np.nan, axis=0)
        np.testing.assert_allclose(found, expected, rtol=1e-15)
        write_point_table(again, table.with_points(found))
        np.testing.assert_allclose(read_point_table(again).points(), expected, rtol=1e-15)


def test_decimal_commas_are_written_again_and_told(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("Name;X;Y\np0;300,250;200\n;;\np1;5,5;350,250\n")
    table = read_point_table(tmp_path / "t.csv")
    np.testing.assert_array_equal(table.points(), [[300.25, 200], [np.nan] * 2, [5.5, 350.25]])
    assert any("decimal comma" in note for note in table.notes)
    assert any("1 of 3 rows hold no point (the first is row 3)" in note for note in table.notes)
    write_point_table(tmp_path / "out.csv", table.with_points(table.points() + 1))
    assert (tmp_path / "out.csv").read_text() == "Name;X;Y\np0;301,25;201,0\n;;\np1;6,5;351,25\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('X,Y\n"300,250","200,5"\n', r"it reads '300,250' and '200,5'; numbers with a decimal comma need ; or tab"),
        ("X;Y\n1,5;2\n1.5;2\n", r"with a comma \('1,5'\) and with a point \('1.5'\)"),
        ("X;Y\n1.300,5;2\n", "no finite X and Y"),
        ("X,Y\n,\n,\n", "no points, only 2 rows without one"),
    ],
)
def test_ambiguous_numbers_are_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(InputError, match=message):
        read_point_table(tmp_path / "t.csv")


@pytest.mark.parametrize("suffix", ["csv", "xlsx", "parquet"])
def test_pair_tables_may_have_any_form(tmp_path: Path, suffix: str) -> None:
    table = pd.DataFrame({"id": [1, 2], "moving": ["a.png", "b.png"], "fixed": ["c.png", "d.png"]})
    path = tmp_path / f"pairs.{suffix}"
    if suffix == "xlsx":
        pytest.importorskip("openpyxl")
        table.to_excel(path, index=False)
    elif suffix == "parquet":
        pytest.importorskip("pyarrow")
        table.to_parquet(path)
    else:
        table.to_csv(path, index=False, sep=";", encoding="utf-16")
    pairs = read_pairs(path)
    assert [(pair.id, pair.moving) for pair in pairs] == [("1", tmp_path / "a.png"), ("2", tmp_path / "b.png")]


def test_rows_of_a_pair_table_keep_their_numbers_behind_an_empty_one(tmp_path: Path) -> None:
    (tmp_path / "pairs.csv").write_text("id;moving;fixed\na;b.png;c.png\n;;\nd;;e.png\n")
    with pytest.raises(InputError, match=re.escape("pairs.csv row 4: column 'moving' is empty")):
        read_pairs(tmp_path / "pairs.csv")
    (tmp_path / "pairs.csv").write_text("id;moving;fixed\na;b.png;c.png\n\nd/;b.png;e.png\n")
    with pytest.raises(InputError, match=r"row 4: id 'd/' can't name"):
        read_pairs(tmp_path / "pairs.csv")


def test_cells_are_text_and_repeated_names_differ(tmp_path: Path) -> None:
    assert [cell_text(cell) for cell in (None, float("nan"), 3.0, 3.5, 7, " a ")] == ["", "", "3", "3.5", "7", "a"]
    (tmp_path / "t.csv").write_text("id, note,note,\n1, a ,b,c\n")
    cells = read_cells(tmp_path / "t.csv", "table")
    assert cells.columns.tolist() == ["id", "note", "note.1", "Unnamed: 3"]
    assert cells.to_numpy().tolist() == [["1", "a", "b", "c"]]


def test_excel_keeps_values_and_tells_of_other_sheets(tmp_path: Path) -> None:
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    for row in (["name", "X", "Y", None], ["a", 1, 2.5], [None, None, None], [7, 3, 4], [None]):
        book.active.append(row)
    book.create_sheet("other")
    book.save(tmp_path / "t.xlsx")
    table = read_point_table(tmp_path / "t.xlsx")
    np.testing.assert_array_equal(table.points(), [[1, 2.5], [np.nan] * 2, [3, 4]])
    assert any("of 2 sheets the first, 'Sheet', is read" in note for note in table.notes)
    write_point_table(tmp_path / "out.xlsx", table.with_points(table.points() + 1))
    rows = list(openpyxl.load_workbook(tmp_path / "out.xlsx").active.iter_rows(values_only=True))
    assert rows == [("name", "X", "Y"), ("a", 2, 3.5), (None, None, None), (7, 4, 5)]
    with pytest.raises(InputError, match=r"let the result end in \.xlsx"):
        write_point_table(tmp_path / "out.csv", table)


def test_parquet_keeps_types_and_metadata(tmp_path: Path) -> None:
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    given = pd.DataFrame({
        "barcode": pd.Categorical(["A", "B"]), "in_tissue": [1, 0], "pxl_row_in_fullres": [200, 350],
        "pxl_col_in_fullres": [300, 500],
    })  # fmt: skip
    given.to_parquet(tmp_path / "t.parquet")
    table = read_point_table(tmp_path / "t.parquet")
    np.testing.assert_array_equal(table.points(), [[300, 200], [500, 350]])
    write_point_table(tmp_path / "out.parquet", table.with_points(table.points() + 0.25))
    found = parquet.read_table(tmp_path / "out.parquet")
    assert found.column("in_tissue").type == arrow.int64()
    np.testing.assert_array_equal(
        read_point_table(tmp_path / "out.parquet").points(), [[300.25, 200.25], [500.25, 350.25]]
    )
    assert pd.read_parquet(tmp_path / "out.parquet")["barcode"].tolist() == ["A", "B"]


def test_points_of_geoparquet_are_carried_in_their_geometry(tmp_path: Path) -> None:
    geopandas = pytest.importorskip("geopandas")
    pytest.importorskip("pyarrow")
    frame = geopandas.GeoDataFrame({"cell": ["a", "b"]}, geometry=[shapely.Point(1, 2), shapely.Point(3, 4)])
    frame.to_parquet(tmp_path / "t.parquet")
    table = read_point_table(tmp_path / "t.parquet")
    np.testing.assert_array_equal(table.points(), [[1, 2], [3, 4]])
    write_point_table(tmp_path / "out.parquet", table.with_points(table.points() + 10))
    again = geopandas.read_parquet(tmp_path / "out.parquet")
    assert again["cell"].tolist() == ["a", "b"]
    assert [(point.x, point.y) for point in again.geometry] == [(11, 12), (13, 14)]
    frame.set_geometry(frame.buffer(1)).to_parquet(tmp_path / "areas.parquet")
    with pytest.raises(InputError, match="does not hold points; outlines are annotations"):
        read_point_table(tmp_path / "areas.parquet")


def _geoparquet(path: Path, shapes: list[shapely.Geometry | None]) -> None:
    """As geopandas writes it, without it."""
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    binary = [None if shape is None else shapely.to_wkb(shape) for shape in shapes]
    geo = {"primary_column": "geometry", "columns": {"geometry": {"encoding": "WKB", "bbox": [1, 2, 3, 4]}}}
    table = arrow.table(
        {"cell": [f"c{i}" for i in range(len(shapes))], "geometry": arrow.array(binary, arrow.binary())}
    )
    parquet.write_table(table.replace_schema_metadata({"geo": json.dumps(geo)}), path)


def test_a_geometry_without_geopandas_keeps_its_empty_rows_and_no_box(tmp_path: Path) -> None:
    _geoparquet(tmp_path / "t.parquet", [shapely.Point(1, 2), None, shapely.Point(3, 4)])
    table = read_point_table(tmp_path / "t.parquet")
    np.testing.assert_array_equal(table.points(), [[1, 2], [np.nan] * 2, [3, 4]])
    write_point_table(tmp_path / "out.parquet", table.with_points(table.points() + 10))
    again = read_point_table(tmp_path / "out.parquet")
    np.testing.assert_array_equal(again.points(), [[11, 12], [np.nan] * 2, [13, 14]])
    assert again.cells[0].tolist() == ["c0", "c1", "c2"]
    geo = json.loads(again.table.native.schema.metadata[b"geo"])
    assert geo == {"primary_column": "geometry", "columns": {"geometry": {"encoding": "WKB"}}}
    _geoparquet(tmp_path / "areas.parquet", [shapely.box(0, 0, 1, 1)])
    with pytest.raises(InputError, match="'geometry' does not hold points; outlines are annotations"):
        read_point_table(tmp_path / "areas.parquet")


def test_points_are_well_known_binary_and_back() -> None:
    points = np.array([[1.5, 2], [np.nan, np.nan], [3, 4]])
    binary = sheets.to_well_known(points)
    assert binary[1] is None
    np.testing.assert_array_equal(sheets.well_known_points(pd.Series(binary, dtype=object)), points)
    assert sheets.well_known_points(pd.Series(["a"], dtype=object)) is None
    assert sheets.well_known_points(pd.Series([b"no geometry"], dtype=object)) is None


def test_text_of_an_excel_table_never_becomes_a_formula(tmp_path: Path) -> None:
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    for row in (("name", "X", "Y"), ("=HYPERLINK(1)", 1.5, 2.5)):
        book.active.append(row)
    book.active["A2"].data_type = "s"
    book.save(tmp_path / "t.xlsx")
    table = read_table(tmp_path / "t.xlsx")
    write_table(tmp_path / "out.xlsx", table)
    cell = openpyxl.load_workbook(tmp_path / "out.xlsx").active["A2"]
    assert (cell.value, cell.data_type) == ("=HYPERLINK(1)", "s")
