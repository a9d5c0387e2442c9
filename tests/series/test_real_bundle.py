"""A turned series with a foreign section, by the bundle that a user takes."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import map_coordinates
from skimage import data

from custom_components.fields import apply_matrix
from custom_components.pairs import read_points, write_image, write_points
from custom_components.series import align_series

MIDDLE = np.full(2, 149.5)


def turned(degrees):
    angle, matrix = np.deg2rad(degrees), np.eye(3)
    matrix[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    matrix[:2, 2] = MIDDLE - matrix[:2, :2] @ MIDDLE
    return matrix


@pytest.mark.slow
def test_strong_turns_add_up_and_a_foreign_section_is_left_out(tmp_path):
    """Neighbours are 20 degrees apart, the ends 60: more than the matcher takes without its search."""
    image = np.full((3, 300, 300), 240.0)
    image[:, 30:270, 30:270] = np.moveaxis(data.immunohistochemistry(), -1, 0)[:, 60:300, 60:300]
    marks = np.stack(np.meshgrid(*[np.linspace(90, 210, 4)] * 2, indexing="ij"), -1).reshape(-1, 2)
    places, rows = {}, ["id,image,landmarks"]
    for name, degrees in zip("abcd", (-30, -10, 10, 30), strict=True):
        where = apply_matrix(turned(degrees), np.indices((300, 300)).reshape(2, -1).T).T
        section = [map_coordinates(c, where, order=1, cval=240).reshape(300, 300) for c in image]
        write_image(tmp_path / f"{name}.png", np.stack(section).round().astype(np.uint8))
        places[name] = apply_matrix(np.linalg.inv(turned(degrees)), marks)
        write_points(tmp_path / f"{name}.csv", places[name])
        rows.append(f"{name},{name}.png,{name}.csv")
    foreign = data.retina()[300:600, 300:600]
    write_image(tmp_path / "foreign.png", np.moveaxis(foreign, -1, 0))
    rows.insert(3, "foreign,foreign.png,")
    (tmp_path / "sections.csv").write_text("\n".join(rows))
    record = align_series(tmp_path / "sections.csv", output_dir=tmp_path / "out", mode="neighbours", report=False)
    found = {row["id"]: row for row in record["sections"]}
    assert record["reference"] in ("b", "c")
    assert found["foreign"]["status"] == "failed"
    assert "no consistent alignment" in found["foreign"]["reason"]
    for name in "abcd":
        assert found[name]["status"] == "ok"
        carried = read_points(tmp_path / "out" / name / "warped_landmarks.csv")
        assert np.linalg.norm(carried - places[record["reference"]], axis=1).mean() < 1
    assert max(len(found[name]["path"]) for name in "abcd") == 3
