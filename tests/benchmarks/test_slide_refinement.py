from __future__ import annotations

import numpy as np

from benchmarks.slide_refinement import errors
from custom_components.pairs import write_points


def test_errors_are_those_of_the_points_in_the_region(tmp_path):
    truth = np.array([[10.0, 100.0], [30.0, 120.0], [50.0, 110.0], [30.0, 20.0]])  # row, column
    write_points(tmp_path / "truth.csv", truth)
    write_points(tmp_path / "warped.csv", truth + np.array([[3.0, 4.0], [6.0, 8.0], [0.0, 1.0], [9.0, 9.0]]))
    # x from 100, y from 10: columns 100 to 140, rows 10 to 40
    found = errors(tmp_path / "warped.csv", tmp_path / "truth.csv", (100, 10, 40, 30))
    np.testing.assert_allclose(found, [5, 10])
