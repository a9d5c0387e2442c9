from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from custom_components.annotations import PointMap
from custom_components.common.errors import InputError
from custom_components.fields import Grid, displacement_image, index_to_physical
from custom_components.outputs.attached import carry_annotations, carry_landmarks
from custom_components.pairs import Pair, read_annotations, read_points, write_annotations, write_geojson

PLAIN = index_to_physical([1.0, 1.0])


@pytest.fixture
def way() -> PointMap:
    """Three rows down, four columns to the right."""
    shift = torch.tensor([3.0, 4.0], dtype=torch.float64).reshape(1, 2, 1, 1).expand(1, 2, 60, 80)
    grid = Grid.of_pixels((60, 80))
    return PointMap(displacement_image(shift, PLAIN, PLAIN), grid, grid)


def _pair(folder: Path, moving: str, fixed: str | None) -> Pair:
    (folder / "m.csv").write_text(moving)
    if fixed is not None:
        (folder / "f.csv").write_text(fixed)
    return Pair("p", Path("a.png"), Path("b.png"), folder / "m.csv", folder / "f.csv" if fixed is not None else None)


def test_all_rows_are_written_and_those_of_both_files_measured(tmp_path: Path, way: PointMap) -> None:
    pair = _pair(tmp_path, "name,X,Y\na,10,20\nb,,\nc,30,40\nd,5,6\n", "name,X,Y\nc,34,43\nd,9,14\nx,1,1\nb,1,1\n")
    metrics: dict[str, Any] = {"notes": ["earlier"]}
    found = carry_landmarks(pair, way, tmp_path, metrics)
    assert (tmp_path / "warped_landmarks.csv").read_text() == ",X,Y\na,14.0,23.0\nb,,\nc,34.0,43.0\nd,9.0,9.0\n"
    assert found is not None
    assert list(found.names) == ["c", "d"]
    np.testing.assert_array_equal(found.moving, [[40, 30], [6, 5]])
    np.testing.assert_array_equal(found.fixed, [[43, 34], [14, 9]])
    assert metrics["landmarks"]["max"] == pytest.approx(5 / 100)
    assert metrics["notes"][0] == "earlier"
    text = "; ".join(metrics["notes"])
    assert all(word in text for word in ("1 landmarks stand in m.csv and not in f.csv (a)", "(x)", "hold no point"))


def test_without_fixed_landmarks_nothing_is_measured(tmp_path: Path, way: PointMap) -> None:
    metrics: dict[str, Any] = {}
    assert carry_landmarks(_pair(tmp_path, "X,Y\n1,2\n", None), way, tmp_path, metrics) is None
    assert metrics == {"notes": []}
    np.testing.assert_array_equal(read_points(tmp_path / "warped_landmarks.csv"), [[5, 5]])
    assert carry_landmarks(Pair("p", Path("a"), Path("b")), way, tmp_path, {}) is None


def test_one_file_of_bigwarp_has_the_landmarks_of_both_images(tmp_path: Path, way: PointMap) -> None:
    text = "Pt-0,true,10,20,14,23\nPt-1,true,30,40,34,43\n"
    metrics: dict[str, Any] = {}
    carry_landmarks(_pair(tmp_path, text, text), way, tmp_path, metrics)
    assert metrics["landmarks"]["max"] == 0


def test_landmarks_with_nothing_in_common_are_refused(tmp_path: Path, way: PointMap) -> None:
    with pytest.raises(InputError, match="no name stands in both"):
        carry_landmarks(_pair(tmp_path, "name,X,Y\na,1,2\nb,1,2\n", "name,X,Y\nc,1,2\n"), way, tmp_path, {})


@pytest.mark.parametrize(("key", "name"), [("annotations", "warped_"), ("fixed_annotations", "warped_fixed_")])
def test_annotations_keep_the_form_of_their_file(tmp_path: Path, way: PointMap, key: str, name: str) -> None:
    ring = [[10.0, 10.0], [20.0, 10.0], [20.0, 30.0], [10.0, 10.0]]
    data = {"type": "Polygon", "coordinates": [ring, [[12.0, 11.0], [14.0, 11.0], [14.0, 12.0], [12.0, 11.0]]]}
    write_annotations(tmp_path / "m.xml", data, "imagescope")
    write_geojson(tmp_path / "m.geojson.gz", data)
    metrics: dict[str, Any] = {}
    for given, written in (("m.xml", f"{name}m.xml"), ("m.geojson.gz", f"{name}m.geojson")):
        carry_annotations(tmp_path / given, way, tmp_path, metrics, key)
        found = read_annotations(tmp_path / written).data
        geometry = found["features"][0]["geometry"] if "features" in found else found
        assert geometry["coordinates"][0] == [[x + 4, y + 3] for x, y in ring]
        assert len(geometry["coordinates"]) == 2
        assert metrics[key] == {"objects": 1, "notes": []}
