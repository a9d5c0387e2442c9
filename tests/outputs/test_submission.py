"""The ANHIR challenge's form of the results."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from custom_components.outputs.submission import write_submission
from custom_components.pairs import Pair, read_points, write_points

HEADER = [
    "", "Target image", "Source image", "Target landmarks", "Source landmarks", "status",
    "Warped source landmarks", "Execution time [minutes]",
]  # fmt: skip


@pytest.fixture
def pairs(tmp_path):
    """Two pairs of one data set, landmark files in a folder of their own; the first was registered."""
    data = tmp_path / "data"
    made = [
        Pair(
            str(number), data / "lung" / "HE.png", data / "lung" / f"{stain}.png", data / "csv" / f"{stain}.csv",
            data / "csv" / "HE.csv", extra={"status": status},
        )
        for number, (stain, status) in enumerate((("CD4", "training"), ("Ki67", "evaluation")))
    ]  # fmt: skip
    done = tmp_path / "out" / "0"
    done.mkdir(parents=True)
    write_points(done / "warped_landmarks.csv", np.array([[1.5, 2.25], [3.0, 4.0]]), ["7", "9"])
    (done / "metrics.json").write_text(json.dumps({"status": "ok", "seconds": {"total": 90.0}}))
    return made


def test_table_has_the_challenge_columns_and_one_row_a_pair(pairs, tmp_path):
    table = write_submission(pairs, tmp_path / "out")
    assert table == tmp_path / "out" / "submission" / "registration-results.csv"
    with table.open(newline="") as lines:
        rows = list(csv.reader(lines))
    assert [name if not name.startswith("Unnamed") else "" for name in rows[0]] == HEADER
    # the target is the fixed image; paths go from the root of the data set
    assert rows[1][:6] == ["0", "lung/CD4.png", "lung/HE.png", "csv/HE.csv", "csv/CD4.csv", "training"]
    assert rows[1][6] == "landmarks/0.csv"
    assert float(rows[1][7]) == 1.5


def test_a_pair_without_a_result_keeps_its_row_with_empty_cells(pairs, tmp_path):
    with write_submission(pairs, tmp_path / "out").open(newline="") as lines:
        row = list(csv.DictReader(lines))[1]
    assert (row["status"], row["Warped source landmarks"], row["Execution time [minutes]"]) == ("evaluation", "", "")


def test_landmarks_are_numbered_from_one_in_their_order(pairs, tmp_path):
    write_submission(pairs, tmp_path / "out")
    path = tmp_path / "out" / "submission" / "landmarks" / "0.csv"
    assert path.read_text().splitlines() == [",X,Y", "1,2.25,1.5", "2,4.0,3.0"]
    np.testing.assert_array_equal(read_points(path), [[1.5, 2.25], [3.0, 4.0]])


def test_pairs_without_landmarks_are_listed_too(tmp_path):
    (tmp_path / "out").mkdir()
    table = write_submission([Pair("p", Path("a/m.png"), Path("a/f.png"))], tmp_path / "out")
    with table.open(newline="") as lines:
        (row,) = csv.DictReader(lines)
    assert (row["Target image"], row["Source image"], row["Target landmarks"]) == ("f.png", "m.png", "")


def test_a_second_submission_replaces_the_first(pairs, tmp_path):
    write_submission(pairs, tmp_path / "out")
    with write_submission(pairs[:1], tmp_path / "out").open(newline="") as lines:
        assert len(list(csv.DictReader(lines))) == 1
