from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from custom_components.common.errors import InputError
from custom_components.pairs import read_point_table, read_points, write_point_table

DETECTIONS = (
    "Image\tObject ID\tClassification\tCentroid X µm\tCentroid Y µm\tNucleus: Area µm^2\n"
    "a.svs\t6f1\tTumour, large\t10.5\t20.25\t31.7\n"
    "a.svs\t007\t\t1\t2e3\tNaN\n"
)


def _write(folder: Path, text: str, name: str = "cells.tsv") -> Path:
    (folder / name).write_text(text, encoding="utf-8")
    return folder / name


def test_a_table_of_qupath_keeps_everything_but_the_centroids(tmp_path: Path) -> None:
    table = read_point_table(_write(tmp_path, DETECTIONS))
    assert (table.unit, table.centroid, table.separator) == ("micrometre", True, "\t")
    np.testing.assert_array_equal(table.points(), [[10.5, 20.25], [1, 2000]])
    write_point_table(tmp_path / "out.tsv", table.with_points(np.array([[1.0, 2.0], [3.00004, 4.5]])))
    assert (tmp_path / "out.tsv").read_text(encoding="utf-8") == (
        "Image\tObject ID\tClassification\tCentroid X µm\tCentroid Y µm\tNucleus: Area µm^2\n"
        "a.svs\t6f1\tTumour, large\t1.0\t2.0\t31.7\n"
        "a.svs\t007\t\t3.0\t4.5\tNaN\n"
    )


@pytest.mark.parametrize(
    ("names", "unit", "centroid"),
    [
        ("X,Y", None, False),
        ("x,y", None, False),
        ("Centroid X µm,Centroid Y µm", "micrometre", True),
        ("Centroid X μm,Centroid Y μm", "micrometre", True),
        ("Centroid X um,Centroid Y um", "micrometre", True),
        ("Centroid X px,Centroid Y px", "pixel", True),
        ("x_um,y_um", "micrometre", False),
        ("X [px],Y [px]", "pixel", False),
        ("X (microns),Y (microns)", "micrometre", False),
    ],
)
def test_unit_and_origin_are_taken_from_the_names(tmp_path: Path, names: str, unit: str | None, centroid: bool) -> None:
    table = read_point_table(_write(tmp_path, f"id,{names},area\n1,5,6,7\n"))
    assert (table.unit, table.centroid, table.x, table.y) == (unit, centroid, 1, 2)


@pytest.mark.parametrize(
    ("names", "x", "y"),
    [
        ("Centroid X px,Centroid Y px,X,Y", 2, 3),  # without a unit first
        ("Centroid Y px,Centroid X px,Centroid X µm,Centroid Y µm", 1, 0),  # then the leftmost
        ("X µm,Centroid X px,Y,Centroid Y px", 1, 3),  # only whole pairs
        ("X,Y,x,y", 0, 1),
    ],
)
def test_of_several_columns_one_whole_pair_is_taken(tmp_path: Path, names: str, x: int, y: int) -> None:
    table = read_point_table(_write(tmp_path, f"{names}\n1,2,3,4\n"))
    assert (table.x, table.y) == (x, y)


def test_repeated_and_empty_names_stay_as_they_are(tmp_path: Path) -> None:
    text = ",X,Y,note,note\n7,1.0,2.0,a,\n"
    write_point_table(tmp_path / "out.csv", read_point_table(_write(tmp_path, text)))
    assert (tmp_path / "out.csv").read_text() == text


def test_cells_with_separators_stay_quoted(tmp_path: Path) -> None:
    text = 'name,X,Y\n"a, left",1.0,2.0\n'
    write_point_table(tmp_path / "out.csv", read_point_table(_write(tmp_path, text)))
    assert (tmp_path / "out.csv").read_text() == text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Centroid X µm,Centroid Y px\n1,2\n", "need columns X and Y, found Centroid X µm, Centroid Y px"),
        ("X,Y\n1,2\n3,\n", "row 3 has no finite X and Y; 1 such rows"),
        ("Centroid X µm\tCentroid Y µm\n1\tleft\n", "row 2 has no finite Centroid X µm and Centroid Y µm"),
        ("X,Y\n", "have no rows"),
        ("X,Y\n1,2,3\n", "can't be read as CSV"),
    ],
)
def test_a_wrong_table_is_refused_by_name(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        read_point_table(_write(tmp_path, text)).points()
    assert "cells.tsv" in str(caught.value)


def test_landmarks_of_a_pair_may_be_qupaths_centroids_in_pixels_but_not_in_micrometres(tmp_path: Path) -> None:
    """Its first pixel's centre is (0.5, 0.5)."""
    pixels = _write(tmp_path, "Centroid X px,Centroid Y px\n10.5,20.5\n", "p.csv")
    np.testing.assert_array_equal(read_points(pixels), [[20, 10]])
    with pytest.raises(InputError, match="need columns X and Y in pixels, found Centroid X µm and Centroid Y µm"):
        read_points(_write(tmp_path, DETECTIONS))


@pytest.mark.parametrize(
    ("header", "wanted"),
    [("X,Y", "e,X,Y"), (",X,Y", ",e,X,Y"), ("y,x", "e,y,x"), ("X,Y,class", "X,Y,class,e"), ("X,e,Y", "X,e,Y")],
)
def test_a_new_column_leaves_the_coordinates_where_programs_look_for_them(
    tmp_path: Path, header: str, wanted: str
) -> None:
    count = header.count(",") + 1
    text = f"{header}\n{','.join(str(n + 1.5) for n in range(count))}\n"
    table = read_point_table(_write(tmp_path, text))
    longer = table.with_named_column("e", np.array([0.25]))
    write_point_table(tmp_path / "out.csv", longer)
    lines = (tmp_path / "out.csv").read_text().splitlines()
    assert lines[0] == wanted
    np.testing.assert_array_equal(longer.values, table.values)
    np.testing.assert_array_equal(read_point_table(tmp_path / "out.csv").values, table.values)
    assert lines[1].split(",")[wanted.split(",").index("e")] == "0.25"
