from __future__ import annotations

import numpy as np
import pytest

from benchmarks.annotations import KnownSlide, cells, main, regions, true_outlines, trueness


def test_the_known_map_and_its_inverse_close_and_its_jacobian_is_that_of_small_squares() -> None:
    slide = KnownSlide(side=3000)
    points = np.random.default_rng(0).uniform(0, 3000, (200, 2))
    np.testing.assert_allclose(slide.to_fixed(slide.to_moving(points)), points, atol=1e-5)
    square = np.array([[-0.5, -0.5], [-0.5, 0.5], [0.5, 0.5], [0.5, -0.5]])
    corners = slide.to_moving((points[:, None] + square).reshape(-1, 2)).reshape(-1, 4, 2)
    first, second = corners[:, 2] - corners[:, 0], corners[:, 3] - corners[:, 1]
    areas = (first[:, 0] * second[:, 1] - first[:, 1] * second[:, 0]) / 2
    np.testing.assert_allclose(np.abs(slide.jacobian(points)), np.abs(areas), rtol=1e-4)


def test_outlines_and_cells_lie_inside_the_slide_and_are_closed() -> None:
    rings = [*regions(3000, 6), *(np.array(cell["geometry"]["coordinates"][0]) for cell in cells(3000, 5))]
    for ring in rings:
        assert (ring[0] == ring[-1]).all()
        assert ring.min() > 0
        assert ring.max() < 3000


def test_added_points_make_the_outlines_truer() -> None:
    slide = KnownSlide(side=3000)
    rings = regions(3000, 6)
    exact = true_outlines(slide, rings)
    none, some, every = (trueness(slide, rings, exact, *way) for way in ((None,), (0.1,), (None, 16.0)))
    assert none.area.mean() > 4 * some.area.mean()
    assert none.overlap.min() < 0.995 < some.overlap.min()
    assert none.vertices < some.vertices < every.vertices


def test_all_tables_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    text = main(["--side", "1600", "--bend", "0.5", "--points", "50", "--regions", "2", "--cells", "5"])
    assert "waves of 60 and 15 px" in text
    for row in ("| moving -> fixed -> moving |", "| points added to within 0.1 px |", "| 5 | 205 |"):
        assert row in text
