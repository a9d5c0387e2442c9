from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from custom_components.common.errors import InputError
from custom_components.pairs import check_landmark_counts, read_index, read_points, write_points


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


def test_counts_must_agree() -> None:
    check_landmark_counts(np.zeros((3, 2)), np.ones((3, 2)), ("m.csv", "f.csv"))
    with pytest.raises(InputError, match=r"m\.csv has 3 landmarks, f\.csv has 4"):
        check_landmark_counts(np.zeros((3, 2)), np.zeros((4, 2)), ("m.csv", "f.csv"))
