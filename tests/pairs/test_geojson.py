from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from custom_components.errors import InputError
from custom_components.pairs import map_geojson, read_geojson, write_geojson

RING = [[0, 0], [10, 0], [10, 20], [0, 0]]


def _shift(points: np.ndarray) -> np.ndarray:
    return points + np.array([100.0, 1.0])  # rows by 100, columns by 1: y by 100, x by 1


def _shifted(coordinates: Any) -> Any:
    if isinstance(coordinates[0], list):
        return [_shifted(part) for part in coordinates]
    return [coordinates[0] + 1, coordinates[1] + 100, *coordinates[2:]]


@pytest.mark.parametrize(
    ("kind", "coordinates"),
    [
        ("Point", [1, 2]),
        ("MultiPoint", [[1, 2], [3, 4, 9]]),
        ("LineString", [[1, 2, 5], [3, 4, 6]]),
        ("MultiLineString", [[[1, 2], [3, 4]], [[5, 6], [7, 8], [9, 9]]]),
        ("Polygon", [RING, [[1, 1], [2, 1], [2, 2], [1, 1]]]),
        ("MultiPolygon", [[RING], [RING, RING]]),
    ],
)
def test_every_geometry_moves_and_z_stays(kind: str, coordinates: Any) -> None:
    result = map_geojson({"type": kind, "coordinates": coordinates}, _shift)
    assert result == {"type": kind, "coordinates": _shifted(coordinates)}


def test_nothing_but_coordinates_and_boxes_changes() -> None:
    point = {"type": "Point", "coordinates": [1, 2]}
    inner = {"type": "GeometryCollection", "geometries": [point]}
    feature = {
        "type": "Feature", "id": "abc", "bbox": [0, 0, 1, 1], "odd": {"kept": [1, 2]},
        "geometry": {"type": "GeometryCollection", "geometries": [inner, point]},
        "nucleusGeometry": {"type": "Polygon", "coordinates": [RING], "plane": {"z": 2}},
        "properties": {"name": "gland", "coordinates": [1, 2]},
    }  # fmt: skip
    data = {"type": "FeatureCollection", "features": [feature, {"type": "Feature", "geometry": None}], "x": 1}
    before = copy.deepcopy(data)
    result = map_geojson(data, _shift)
    assert data == before
    moved = result["features"][0]
    assert moved["geometry"]["geometries"][0]["geometries"][0]["coordinates"] == [2, 102]
    assert moved["nucleusGeometry"] == {"type": "Polygon", "coordinates": [_shifted(RING)], "plane": {"z": 2}}
    assert "bbox" not in moved
    for key in ("id", "odd", "properties"):
        assert moved[key] == feature[key]
    assert result["x"] == 1
    assert result["features"][1] == {"type": "Feature", "geometry": None}


def test_a_bare_list_of_features_stays_a_list() -> None:
    feature = {"type": "Feature", "geometry": {"type": "Point", "coordinates": [1, 2]}, "properties": {}}
    assert map_geojson([feature], _shift)[0]["geometry"]["coordinates"] == [2, 102]


def test_the_function_gets_rows_before_columns() -> None:
    seen: list[np.ndarray] = []
    map_geojson({"type": "Point", "coordinates": [3, 8]}, lambda p: seen.append(p) or p)
    np.testing.assert_array_equal(seen[0], [[8, 3]])


def test_densified_sides_are_short_and_keep_every_corner() -> None:
    data = {"type": "Polygon", "coordinates": [[[0, 0, 0], [10, 0, 5], [10, 3, 5], [0, 0, 0]]]}
    ring = map_geojson(data, lambda p: p, densify=2.5)["coordinates"][0]
    sides = np.linalg.norm(np.diff(np.array(ring)[:, :2], axis=0), axis=1)
    assert sides.max() <= 2.5
    assert all(corner in ring for corner in data["coordinates"][0])
    assert ring[0] == ring[-1]
    assert ring[2] == [5, 0, 2.5]  # Z in between as well
    points = {"type": "MultiPoint", "coordinates": [[0, 0], [10, 0]]}
    assert map_geojson(points, lambda p: p, densify=1) == points


def test_empty_geometries_stay_empty() -> None:
    for kind in ("Point", "LineString", "Polygon", "MultiPolygon"):
        assert map_geojson({"type": kind, "coordinates": []}, _shift, 1.0)["coordinates"] == []


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"type": "Circle", "coordinates": [1, 2]}, "type 'Circle' is unknown"),
        ({"coordinates": [1, 2]}, "type 'None' is unknown"),
        ({"type": "Polygon"}, "Polygon has no list 'coordinates'"),
        ({"type": "FeatureCollection", "features": None}, "no list 'features'"),
        ({"type": "Polygon", "coordinates": [[1, 2], [3, 4]]}, "Polygon has 1 where a position"),
        ({"type": "Point", "coordinates": ["1", "2"]}, "where a position"),
        ({"type": "LineString", "coordinates": [[1], [2]]}, "where a position"),
        ({"type": "LineString", "coordinates": [[], [2, 3]]}, "where a position"),
        ([3], "holds '3' where a feature"),
    ],
)
def test_malformed_data_is_refused(data: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        map_geojson(data, _shift)


def test_files_go_round(tmp_path: Path) -> None:
    data = [{"type": "Feature", "geometry": {"type": "Point", "coordinates": [1, 2]}, "properties": {"n": "µ"}}]
    write_geojson(tmp_path / "a.geojson", data)
    assert read_geojson(tmp_path / "a.geojson") == data
    (tmp_path / "b.geojson").write_text(json.dumps(data), encoding="utf-8-sig")
    assert read_geojson(tmp_path / "b.geojson") == data


@pytest.mark.parametrize(
    ("content", "message"), [(b"{", "are no JSON"), (b"\xff\xfe\x00", "are no JSON"), (b"3", "are no GeoJSON")]
)
def test_wrong_files_are_refused(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "a.geojson"
    with pytest.raises(InputError, match=r"a\.geojson do not exist"):
        read_geojson(path)
    path.write_bytes(content)
    with pytest.raises(InputError, match=message):
        read_geojson(path)
