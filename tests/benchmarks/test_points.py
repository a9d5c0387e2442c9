from __future__ import annotations

import numpy as np
import pytest

from benchmarks import points
from custom_components.pairs import read_point_table


def test_cells_are_points_of_the_slide_with_names(tmp_path):
    table = points.cells(500, 20)
    table.to_csv(tmp_path / "cells.csv", index=False)
    found = read_point_table(tmp_path / "cells.csv").points()
    np.testing.assert_array_equal(found, table[["X", "Y"]].to_numpy())
    assert found.min() >= 0
    assert found.max() < 500
    assert table["cell_id"].is_unique


def test_each_step_is_timed_for_each_form():
    text = points.main(["--side", "800", "--numbers", "30", "50", "--forms", "csv"])
    rows = text.splitlines()[2:]
    assert [row.split(" | ")[:2] for row in rows] == [["| 30", "csv"], ["| 50", "csv"]]


def test_parquet_is_timed_where_its_package_is_and_told_where_not(monkeypatch):
    def missing(*arguments: object) -> None:
        raise ImportError("Unable to find a usable engine\nand more")

    monkeypatch.setattr(points, "measure", missing)
    assert "| 30 | parquet | Unable to find a usable engine | | | |" in points.main(
        ["--side", "800", "--numbers", "30", "--forms", "parquet"]
    )
    with pytest.raises(SystemExit):
        points.main(["--forms", "json"])
