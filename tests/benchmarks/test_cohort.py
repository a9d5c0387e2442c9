"""The benchmark of cohorts: what it runs, and that it sees a difference between results."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.cohort import Run, markdown_table, same, table_part
from custom_components.pairs import read_pairs


@pytest.fixture
def left(tmp_path: Path) -> list[Path]:
    """What three runs left: the first two differ in seconds alone, the third in a field."""
    folders = []
    for name, seconds, field in (("a", 1, b"field"), ("b", 2, b"field"), ("c", 1, b"other")):
        (tmp_path / name / "p").mkdir(parents=True)
        (tmp_path / name / "p" / "displacement.mha").write_bytes(field)
        (tmp_path / name / "summary.csv").write_text(f"id,status,seconds\np,ok,{seconds}\n")
        folders.append(tmp_path / name)
    return folders


def test_results_are_the_same_but_for_seconds(left):
    assert same(left[0], left[1])
    assert not same(left[0], left[2])
    (left[1] / "p" / "displacement.mha").unlink()
    assert not same(left[0], left[1])
    (left[2] / "p" / "displacement.mha").write_bytes(b"field")
    (left[2] / "summary.csv").write_text("id,status,seconds\np,poor,1\n")
    assert not same(left[0], left[2])


def test_the_table_compares_with_the_first_run(left):
    runs = [
        Run(workers, seconds, 50, 2.5, folder)
        for workers, seconds, folder in zip((0, 1, 2), (60, 66, 40), left, strict=True)
    ]
    lines = markdown_table(runs, 10).splitlines()
    assert lines[2] == "| serial | 60 | 10.0 | 1.00 | 50 | 2.5 |  |"
    assert lines[3] == "| `--processes 1` | 66 | 9.1 | 0.91 | 50 | 2.5 | the same |"
    assert lines[4] == "| `--processes 2` | 40 | 15.0 | 1.50 | 50 | 2.5 | differ |"


def test_the_first_pairs_of_a_status_are_taken_with_their_landmarks(tmp_path):
    rows = [f"{number},m.png,f.png,m.csv,,{status}" for number, status in enumerate(["x", "training"] * 3)]
    (tmp_path / "all.csv").write_text("\n".join(["id,moving,fixed,moving_landmarks,fixed_landmarks,status", *rows]))
    pairs = read_pairs(table_part(tmp_path / "all.csv", "training", 2, tmp_path / "part.csv"))
    assert [pair.id for pair in pairs] == ["1", "3"]
    assert pairs[0].moving_landmarks == tmp_path / "m.csv"
    assert pairs[0].fixed_landmarks is None
