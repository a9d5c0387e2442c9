from __future__ import annotations

import pandas as pd
import pytest

from benchmarks.split import split
from custom_components.common.errors import InputError


@pytest.fixture
def table(tmp_path):
    rows = [("a", "01", "training"), ("a", "01", "training"), ("a", "02", "training"), ("b", "1", "evaluation")]
    frame = pd.DataFrame(rows, columns=["tissue", "block", "status"])
    frame["id"], frame["moving"], frame["fixed"] = range(4), "images/m.png", "images/f.png"
    frame.to_csv(tmp_path / "pairs.csv", index=False)
    return tmp_path / "pairs.csv"


def test_no_case_is_on_both_sides_and_other_rows_are_left_out(table, tmp_path) -> None:
    said = split(str(table), str(tmp_path / "split.csv"), held_out="a 01")
    found = pd.read_csv(tmp_path / "split.csv", dtype=str)
    assert list(found["status"]) == ["validation", "validation", "training"]
    assert set(found["moving"]) == {str(tmp_path / "images" / "m.png")}
    assert said == "2 validation, 1 training"


def test_a_case_that_is_not_there_is_named(table, tmp_path) -> None:
    with pytest.raises(InputError, match="has no case b 1 of status 'training'"):
        split(str(table), str(tmp_path / "split.csv"), held_out="a 02, b 1")
