"""The programs of docs/conventions.md, run as they stand on a result, say what the page says of direction and units."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
import torch

from custom_components.commands.apply import apply
from custom_components.fields import (
    displacement_image,
    grid_change,
    index_to_physical,
    write_displacement,
    write_transform,
)  # fmt: skip
from custom_components.pairs import read_points, write_points

SHAPE, COARSE = (96, 160), (24, 40)
LINEAR, SHIFT = np.array([[0.98, -0.05], [0.1, 1.04]]), np.array([-7.0, 3.0])


def moved(points: np.ndarray) -> np.ndarray:
    """(..., 2) row, col of the fixed image -> moving image: a turn, a stretch and a shift, no two of them alike."""
    return points @ LINEAR.T + SHIFT


def unmoved(points: np.ndarray) -> np.ndarray:
    return (points - SHIFT) @ np.linalg.inv(LINEAR).T


@pytest.fixture
def result(tmp_path, monkeypatch):
    """out/IHC_to_HE with the fields at a quarter of the size, as a registration leaves it."""
    folder = tmp_path / "out/IHC_to_HE"
    folder.mkdir(parents=True)
    full = index_to_physical([1.0, 1.0])
    coarse = full @ grid_change(COARSE, SHAPE)
    index = np.stack(np.indices(COARSE), -1).astype(np.float64)
    for name, way in (("displacement", moved), ("inverse_displacement", unmoved)):
        ddf = ((way((index + 0.5) * 4 - 0.5) + 0.5) / 4 - 0.5) - index
        image = displacement_image(torch.from_numpy(np.moveaxis(ddf, -1, 0))[None], coarse, coarse)
        write_displacement(folder / f"{name}.mha", image)
        if name == "displacement":
            write_transform(folder / "transform.h5", image)
    grid = {"shape": SHAPE, "index_to_physical": full.tolist()}
    pixels = {"unit": "pixel", "moving_pixel_size": None, "fixed_pixel_size": None}
    (folder / "metrics.json").write_text(json.dumps({**pixels, "moving_grid": grid, "fixed_grid": grid}))
    monkeypatch.chdir(tmp_path)
    return folder


def test_the_programs_say_where_a_fixed_point_lies(repository, result):
    programs = re.findall(r"```python\n(.*?)```", (repository / "docs/conventions.md").read_text(), re.DOTALL)
    found: dict[str, object] = {}
    for program in programs:
        exec(program, found)
    assert len(programs) == 2
    row, column = moved(np.array([60.0, 100.0]))
    assert (found["x"], found["y"]) == pytest.approx((column, row), abs=1e-3)
    ddf = found["ddf"]
    assert ddf.shape == (1, 2, *SHAPE)
    np.testing.assert_allclose(ddf[0, :, 60, 100], (row - 60, column - 100), atol=1e-3)


@pytest.mark.parametrize(("direction", "way"), [("fixed_to_moving", moved), ("moving_to_fixed", unmoved)])
def test_apply_takes_the_field_that_the_page_names_for_points(result, direction, way):
    points = np.array([[60.0, 100.0], [31.5, 47.25]])
    write_points(result / "points.csv", points)
    carried = apply(str(result / "displacement.mha"), points=str(result / "points.csv"), direction=direction)
    np.testing.assert_allclose(read_points(carried), way(points), atol=1e-3)


def test_a_voxel_of_a_field_at_a_sixteenth_lies_where_the_page_says():
    assert grid_change((1, 1), (16, 16)) @ [3.0, 0.0, 1.0] == pytest.approx([16 * 3 + 7.5, 7.5, 1.0])
