from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from custom_components.annotations import parse_annotations
from custom_components.common.errors import InputError

RING = [[0, 0], [10, 0], [10, 20], [0, 0]]
POINT = {"type": "Point", "coordinates": [1, 2]}


def _mapped(data: Any, function: Callable[[np.ndarray], np.ndarray] = lambda xy: xy + np.array([1.0, 100.0])) -> Any:
    parts = parse_annotations(data)
    chains = parts.chains
    return parts.with_points(function(chains.points), chains.starts, np.arange(len(chains.points), dtype=float))


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
    data = {"type": kind, "coordinates": coordinates}
    moved = {"type": kind, "coordinates": _shifted(coordinates)}
    assert _mapped(data) == moved
    assert _mapped({"type": "Feature", "geometry": data}) == {"type": "Feature", "geometry": moved}


def test_nothing_but_coordinates_and_what_would_be_untrue_changes() -> None:
    inner = {"type": "GeometryCollection", "geometries": [POINT]}
    feature = {
        "type": "Feature", "id": "abc", "bbox": [0, 0, 1, 1], "odd": {"kept": [1, 2]},
        "geometry": {"type": "GeometryCollection", "geometries": [inner, POINT]},
        "nucleusGeometry": {"type": "Polygon", "coordinates": [RING], "plane": {"c": -1, "z": 2, "t": 0}},
        "properties": {"name": "gland", "coordinates": [1, 2], "isLocked": True, "measurements": {"area": 3}},
    }  # fmt: skip
    ellipse = {"type": "Polygon", "coordinates": [RING], "isEllipse": True, "plane": {"c": -1, "z": 1, "t": 3}}
    data = {
        "type": "FeatureCollection", "x": 1,
        "features": [feature, {"type": "Feature", "geometry": None}, {"type": "Feature", "geometry": ellipse}],
    }  # fmt: skip
    before = copy.deepcopy(data)
    result = _mapped(data)
    assert data == before
    moved = result["features"][0]
    assert moved["geometry"]["geometries"][0]["geometries"][0]["coordinates"] == [2, 102]
    assert moved["nucleusGeometry"] == {**feature["nucleusGeometry"], "coordinates": [_shifted(RING)]}
    assert set(moved) == set(feature) - {"bbox"}
    for key in ("id", "odd", "properties"):
        assert moved[key] == feature[key]
    assert result["x"] == 1
    assert result["features"][1] == {"type": "Feature", "geometry": None}
    # QuPath would make the ellipse of the bounding box out of it
    assert result["features"][2]["geometry"] == {
        "type": "Polygon", "coordinates": [_shifted(RING)], "plane": {"c": -1, "z": 1, "t": 3},
    }  # fmt: skip


@pytest.mark.parametrize("key", ["childObjects", "children"])
def test_objects_that_qupath_nests_move_with_their_parents(key: str) -> None:
    cell = {"type": "Feature", "id": "cell", "geometry": POINT, "properties": {"objectType": "cell"}}
    core = {"type": "Feature", "id": "core", "geometry": POINT, "properties": {"objectType": "tmaCore", key: [cell]}}
    region = {"type": "Feature", "id": "region", "geometry": POINT, "properties": {"name": "r", key: [core, cell]}}
    moved = _mapped([region])[0]
    assert moved["properties"]["name"] == "r"
    core, cell = moved["properties"][key]
    for found in (moved, core, cell, core["properties"][key][0]):
        assert found["geometry"]["coordinates"] == [2, 102]
    assert parse_annotations([region]).names == ["region", "core", "cell", "cell"]
    assert region["properties"][key][0]["geometry"]["coordinates"] == [1, 2]


def test_a_property_that_only_sounds_like_children_is_left_alone() -> None:
    feature = {"type": "Feature", "geometry": POINT, "properties": {"children": ["a", "b"]}}
    assert _mapped(feature)["properties"] == {"children": ["a", "b"]}


def test_objects_without_an_outline_stay_so() -> None:
    for nothing in ({}, None):  # QuPath writes {}
        feature = {"type": "Feature", "geometry": nothing, "properties": None}
        assert _mapped([feature]) == [feature]
    for kind in ("Point", "LineString", "Polygon", "MultiPolygon"):
        assert _mapped({"type": kind, "coordinates": []})["coordinates"] == []
    assert _mapped({"type": "MultiPolygon", "coordinates": [[], [RING]]})["coordinates"] == [[], [_shifted(RING)]]


def test_chains_say_what_they_belong_to() -> None:
    features = [
        {"type": "Feature", "properties": {"name": "n"}, "geometry": {"type": "LineString", "coordinates": RING}},
        {"type": "Feature", "geometry": {"type": "MultiPolygon", "coordinates": [[RING, RING], [RING]]}},
        {"type": "Feature", "id": 7, "properties": {"measurements": {"a": 1}}, "geometry": POINT},
    ]
    parts = parse_annotations({"type": "FeatureCollection", "features": features})
    chains = parts.chains
    assert parts.names == ["n", "2", "7"]
    assert parts.measured == 1
    assert chains.starts.tolist() == [0, 4, 8, 12, 16, 17]
    assert chains.owner.tolist() == [0, 1, 1, 1, 2]
    assert chains.polygon.tolist() == [-1, 0, 0, 1, -1]
    assert chains.joined.tolist() == [True, True, True, True, False]
    np.testing.assert_array_equal(chains.points[4:8], RING)


def test_further_values_between_positions_are_in_between() -> None:
    parts = parse_annotations({"type": "LineString", "coordinates": [[0, 0, 0, 5], [10, 0, 5]]})
    points = np.array([[0.0, 0], [4, 0], [10, 0]])
    result = parts.with_points(points, np.array([0, 3]), np.array([0, 0.4, 1]))
    assert result["coordinates"] == [[0, 0, 0, 5], [4, 0, 2], [10, 0, 5]]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"type": "Circle", "coordinates": [1, 2]}, "type 'Circle' is unknown"),
        ({"coordinates": [1, 2]}, "type 'None' is unknown"),
        ({"type": "Feature", "geometry": 3}, "type 'None' is unknown"),
        ({"type": "Polygon"}, "Polygon has no list 'coordinates'"),
        ({"type": "FeatureCollection", "features": None}, "no list 'features'"),
        ({"type": "Polygon", "coordinates": [[1, 2], [3, 4]]}, "Polygon has 1 where a position"),
        ({"type": "Polygon", "coordinates": [3]}, "Polygon has 3 where a position"),
        ({"type": "Point", "coordinates": ["1", "2"]}, "where a position"),
        ({"type": "Point", "coordinates": [True, 2]}, "where a position"),
        ({"type": "Point", "coordinates": [1, 2, None]}, "where a position"),
        ({"type": "LineString", "coordinates": [[1], [2]]}, "where a position"),
        ({"type": "LineString", "coordinates": [[], [2, 3]]}, r"has \[\] where a position"),
        ({"type": "Point", "coordinates": [1, float("nan")]}, "object '1' has a position that is not a finite number"),
        ([3], "holds 3 where a feature"),
    ],
)
def test_malformed_data_is_refused(data: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse_annotations(data)


@st.composite
def _geometries(draw: st.DrawFn) -> dict[str, Any]:
    number = st.integers(-500, 500)
    row = st.lists(number, min_size=2, max_size=3)
    rows = st.lists(row, max_size=4)
    chains = st.lists(rows, max_size=3)
    kinds = {
        "Point": row, "MultiPoint": rows, "LineString": rows, "MultiLineString": chains, "Polygon": chains,
        "MultiPolygon": st.lists(chains, max_size=2),
    }  # fmt: skip
    kind = draw(st.sampled_from(sorted(kinds)))
    return {"type": kind, "coordinates": draw(kinds[kind])}


@given(st.lists(_geometries(), max_size=4), st.booleans())
@settings(deadline=None)
def test_what_is_taken_apart_goes_together_again(geometries: list[dict[str, Any]], nested: bool) -> None:
    features: list[Any] = [{"type": "Feature", "geometry": each, "properties": {}} for each in geometries]
    if nested and features:
        features = [{**features[0], "properties": {"childObjects": features[1:]}}]
    assert _mapped(features, lambda xy: xy) == features
