from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from custom_components.annotations import Coordinates, coordinates
from custom_components.common.errors import InputError

number = st.floats(-1e5, 1e5)
size = st.floats(0.05, 20)


@given(st.lists(st.tuples(number, number), max_size=5), size, size, st.booleans())
@settings(deadline=None)
def test_there_and_back(points: list[tuple[float, float]], row: float, column: float, corner: bool) -> None:
    given_ones = np.array(points).reshape(-1, 2)
    level = Coordinates((row, column), corner)
    np.testing.assert_allclose(level.from_pixels(level.to_pixels(given_ones)), given_ones, rtol=1e-9, atol=1e-6)


def test_the_first_pixels_centre_is_where_each_convention_puts_it() -> None:
    first = np.zeros((1, 2))
    np.testing.assert_array_equal(Coordinates().from_pixels(first), [[0, 0]])
    np.testing.assert_array_equal(Coordinates(corner=True).from_pixels(first), [[0.5, 0.5]])
    np.testing.assert_array_equal(Coordinates((0.5, 0.25), corner=True).from_pixels(first), [[0.125, 0.25]])
    np.testing.assert_array_equal(Coordinates((0.5, 0.25)).to_pixels(np.array([[1.0, 3.0]])), [[6, 4]])


def test_micrometres_need_a_pixel_size() -> None:
    assert coordinates("micrometre", [0.5, 0.25], "moving", True) == Coordinates((0.5, 0.25), True)
    assert coordinates("pixel", None, "moving", False) == Coordinates()
    with pytest.raises(InputError, match=r"file of the fixed image states no pixel size.*--unit pixel"):
        coordinates("micrometre", None, "fixed", True)
    with pytest.raises(InputError, match="--unit is pixel or micrometre, got 'mm'"):
        coordinates("mm", None, "fixed", True)
