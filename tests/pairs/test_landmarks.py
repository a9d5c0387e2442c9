from __future__ import annotations

import re
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from custom_components.common.errors import InputError
from custom_components.pairs import match_landmarks, read_index, read_landmarks, read_points, write_points


def _file(folder: Path, text: str) -> Path:
    path = folder / "marks.csv"
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("text", "index"),
    [
        (",X,Y\n007,10.5,20\nb,30,40\n", ["007", "b"]),
        ("X,Y\n10.5,20\n30,40\n", ["1", "2"]),
        ("x,y\n10.5,20\n30,40\n", ["1", "2"]),
        ("Y,X\n20,10.5\n40,30\n", ["1", "2"]),
        (";X;Y\n0;10.5;20\n1;30;40\n", ["0", "1"]),
        ("X\tY\n10.5\t20\n30\t40\n", ["1", "2"]),
        ('"name","X","Y"\n"a, left",10.5,20\n"b",30,40\n', ["a, left", "b"]),
        ("\ufeffX,Y\n10.5,20\n30,40\n", ["1", "2"]),
    ],
)
def test_every_form_gives_rows_before_columns(tmp_path: Path, text: str, index: list[str]) -> None:
    path = _file(tmp_path, text)
    np.testing.assert_array_equal(read_points(path), [[20, 10.5], [40, 30]])
    assert read_index(path) == index


def test_what_is_written_is_read_again_exactly_with_its_index(tmp_path: Path) -> None:
    points = np.random.default_rng(0).uniform(0, 1e5, (20, 2))
    names = [f"{i:03d}" for i in range(20)]
    write_points(tmp_path / "p.csv", points, names)
    np.testing.assert_array_equal(read_points(tmp_path / "p.csv"), points)
    assert read_index(tmp_path / "p.csv") == names
    assert [p.name for p in tmp_path.iterdir()] == ["p.csv"]


def test_the_written_form_is_that_of_the_challenge(tmp_path: Path) -> None:
    write_points(tmp_path / "p.csv", np.array([[2.0, 1.5], [4.0, 3.0]]))
    assert (tmp_path / "p.csv").read_text() == ",X,Y\n1,1.5,2.0\n2,3.0,4.0\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b\n1,2\n", "need columns X and Y, found a, b"),
        (",X,Z\n1,1,2\n", "need columns X and Y, found"),
        ("X,Y\n1,2\n3,\n", r"row 3 has no finite X and Y; 1 such rows"),
        ("X,Y\n1,nan\n", "row 2 has no finite"),
        ("X,Y\n1,inf\n", "row 2 has no finite"),
        ("X,Y\n1,left\n", "row 2 has no finite"),
        ("X,Y\n", "no rows"),
        ("", "can't be read as CSV"),
    ],
)
def test_a_wrong_file_is_refused_by_name(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        read_points(_file(tmp_path, text))
    assert "marks.csv" in str(caught.value)


def test_a_missing_file_and_one_that_is_no_text(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nowhere\.csv do not exist"):
        read_points(tmp_path / "nowhere.csv")
    (tmp_path / "bytes.csv").write_bytes(bytes(range(256)))
    with pytest.raises(InputError, match=r"bytes\.csv can't be read"):
        read_points(tmp_path / "bytes.csv")


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="can't be written"):
        write_points(tmp_path / "no" / "p.csv", np.zeros((1, 2)))


def _match(folder: Path, moving: str, fixed: str) -> tuple[list[int], list[int], tuple[str, ...]]:
    (folder / "m.csv").write_text(moving)
    (folder / "f.csv").write_text(fixed)
    found = match_landmarks(read_landmarks(folder / "m.csv"), read_landmarks(folder / "f.csv", "fixed"))
    return found.moving.tolist(), found.fixed.tolist(), found.notes


@pytest.mark.parametrize(
    ("moving", "fixed", "rows", "note"),
    [
        ("X,Y\n1,2\n3,4\n", "X,Y\n1,2\n3,4\n", ([0, 1], [0, 1]), None),
        ("X,Y\n1,2\n3,4\n", "X,Y\n1,2\n3,4\n5,6\n", ([0, 1], [0, 1]), r"has 2 landmarks, f\.csv has 3; .*the first 2"),
        # counters are no names, whether they begin at 0 or 1
        (",X,Y\n0,1,2\n1,3,4\n", ",X,Y\n1,1,2\n2,3,4\n", ([0, 1], [0, 1]), None),
        (",X,Y\n1,1,2\n3,3,4\n", ",X,Y\n1,1,2\n2,9,9\n3,3,4\n", ([0, 1], [0, 2]), r"1 landmarks stand in f\.csv"),
        (",X,Y\n0,1,2\n1,3,4\n", ",X,Y\n1,1,2\n2,3,4\n3,5,6\n", ([0, 1], [0, 1]), "the first 2"),
        ("name,X,Y\na,1,2\nb,3,4\n", ",X,Y\n1,1,2\n2,3,4\n3,5,6\n", ([0, 1], [0, 1]), "the first 2"),
        (",X,Y\n1,1,2\n3,3,4\n", ",X,Y\n3,3,4\n1,1,2\n", ([0, 1], [1, 0]), "in another order; .* by their names"),
        (
            "name,X,Y\na,1,2\nb,3,4\nc,5,6\n",
            "label;X;Y\nc;5;6\na;1;2\n",
            ([0, 2], [1, 0]),
            r"1 landmarks stand in m\.csv",
        ),
        ("X,Y,name\n1,2,a\n3,4,b\n", "id,X,Y,name\n7,3,4,b\n8,1,2,a\n", ([0, 1], [1, 0]), "another order"),
        # names of which none is common, but as many rows
        ("name,X,Y\na,1,2\nb,3,4\n", "name,X,Y\nu,1,2\nv,3,4\n", ([0, 1], [0, 1]), "no name stands in both"),
        ("X,Y\n1,2\n,\n5,6\n", "X,Y\n1,2\n3,4\n5,6\n", ([0, 2], [0, 2]), "1 landmarks have no point in one of"),
        ("Image,X,Y\na,1,2\na,3,4\n", "Image,X,Y\na,1,2\na,3,4\n", ([0, 1], [0, 1]), None),
    ],
)
def test_rows_of_one_structure_are_found_by_name_else_by_number(
    tmp_path: Path, moving: str, fixed: str, rows: tuple[list[int], list[int]], note: str | None
) -> None:
    *found, notes = _match(tmp_path, moving, fixed)
    assert tuple(found) == rows
    assert len(notes) == (note is not None)
    if note is not None:
        assert re.search(note, notes[0])


def test_landmarks_that_have_nothing_in_common_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"m\.csv has 2 landmarks, f\.csv has 1, and no name stands in both"):
        _match(tmp_path, "name,X,Y\na,1,2\nb,3,4\n", "name,X,Y\nu,1,2\n")
    with pytest.raises(InputError, match="have no landmark in common"):
        _match(tmp_path, "X,Y\n1,2\n,\n", "X,Y\n,\n3,4\n")


@given(st.permutations([f"p{i}" for i in range(6)]), st.integers(1, 6))
def test_named_landmarks_are_matched_whatever_their_order(order: list[str], kept: int) -> None:
    with TemporaryDirectory() as folder:
        rows = "".join(f"p{i},{10 * i},{i}\n" for i in range(6))
        shuffled = "".join(f"{name},{10 * int(name[1])},{name[1]}\n" for name in order[:kept])
        moving, fixed, _ = _match(Path(folder), f"name,X,Y\n{rows}", f"name,X,Y\n{shuffled}")
        assert len(moving) == kept
        assert [f"p{row}" for row in moving] == [order[row] for row in fixed]


def test_of_bigwarps_landmarks_each_image_has_its_own(tmp_path: Path) -> None:
    path = _file(tmp_path, '"Pt-0","true","10.5","20","1","2"\n"Pt-1","true","30","40","3","4"\n')
    np.testing.assert_array_equal(read_points(path), [[20, 10.5], [40, 30]])
    np.testing.assert_array_equal(read_points(path, "fixed"), [[2, 1], [4, 3]])
    assert read_index(path) == ["Pt-0", "Pt-1"]


def test_rows_without_a_point_keep_their_places(tmp_path: Path) -> None:
    path = _file(tmp_path, "name;X;Y\na;10,5;20\n;;\n\nb;30;40\n")
    np.testing.assert_array_equal(read_points(path), [[20, 10.5], [np.nan] * 2, [np.nan] * 2, [40, 30]])
    write_points(tmp_path / "out.csv", read_points(path), read_index(path))
    assert (tmp_path / "out.csv").read_text() == ",X,Y\na,10.5,20.0\n,,\n,,\nb,30.0,40.0\n"
    assert read_landmarks(tmp_path / "out.csv").known.tolist() == [0, 3]


def test_imagejs_results_are_landmarks_in_pixels_with_a_note(tmp_path: Path) -> None:
    found = read_landmarks(_file(tmp_path, " ,Label,X,Y\n1,he.tif:1,10.5,20\n2,he.tif:2,30,40\n"))
    assert (found.names, found.counted) == (["1", "2"], True)
    assert "of ImageJ and read as pixels" in found.notes[0]
