from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks import whole_slides
from benchmarks.whole_slides import PIXEL_SIZE, TissueSlide, known_field, make
from custom_components.fields import index_to_physical
from custom_components.fields.blocks import FieldBlocks
from custom_components.pairs import open_slide, read_points


def test_regions_of_the_computed_slide_fit_together() -> None:
    slide = TissueSlide(900)
    whole = slide.read(0, 0, 0, 900, 900)
    np.testing.assert_array_equal(slide.read(0, 100, 333, 50, 70), whole[100:150, 333:403])


def test_the_moving_slide_is_the_fixed_one_where_the_landmarks_say(tmp_path: Path) -> None:
    make(1100, str(tmp_path), points=40)
    moving, fixed = (read_points(tmp_path / f"{name}.csv") for name in ("moving", "fixed"))
    matrix = index_to_physical(PIXEL_SIZE[::-1])
    found = FieldBlocks(known_field(1100, 0.01, 0), matrix, matrix)(0, 0, 1100, 1100)
    rows, columns = (np.round(moving[:, k]).astype(int) for k in (0, 1))
    near = np.stack([found.rows[rows, columns] + found.origin[0], found.columns[rows, columns] + found.origin[1]], 1)
    assert np.abs(near - fixed).max() < 1.0
    with open_slide(tmp_path / "moving.ome.tif") as slide:
        pixels = slide.read(0, 0, 0, 1100, 1100).astype(int)
        assert slide.pixel_size == PIXEL_SIZE
    inside = np.abs(fixed - 550).max(axis=1) < 500
    expected = TissueSlide(1100).read(0, 0, 0, 1100, 1100).astype(int)
    at = np.round(fixed[inside]).astype(int)
    # JPEG and half a pixel
    assert np.median(np.abs(pixels[rows[inside], columns[inside]] - expected[at[:, 0], at[:, 1]])) < 15


@pytest.mark.slow
def test_the_table_has_every_step(tmp_path: Path) -> None:
    make(1500, str(tmp_path / "small"))
    table = whole_slides.measure(str(tmp_path / "small"), str(tmp_path / "out"), engines="itk")
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines()[2:]]
    assert [row[1] for row in rows] == ["register", "warp", "itk"]
    assert float(rows[0][7]) < 5  # the error
