from __future__ import annotations

import math

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from custom_components.pairs.shapes import (
    LINE,
    POINTS,
    POLYGON,
    Shape,
    bounds,
    ellipse,
    nested_rings,
    rectangle,
    ring,
    to_collection,
    to_shapes,
)

OUTER, HOLE, ISLAND = rectangle(0, 0, 10, 10), rectangle(2, 2, 8, 8), rectangle(4, 4, 6, 6)


def test_shapes_come_back_from_geojson_with_names_classes_colours_and_ids() -> None:
    given_shapes = [
        Shape(POLYGON, [[OUTER, HOLE]], "gland", "Tumour", (1, 2, 3), "7"),
        Shape(POLYGON, [[OUTER, HOLE], [ISLAND]], "two"),
        Shape(LINE, [[[[0.0, 1.0], [2.0, 3.0]]]], "line"),
        Shape(POINTS, [[[[5.0, 6.0]]]], "dot"),
        Shape(POINTS, [[[[5.0, 6.0], [7.0, 8.0]]]]),
    ]
    data = to_collection(given_shapes, source="x")
    assert data["source"] == "x"
    found, lost = to_shapes(data)
    assert lost == []
    for one, other in zip(found, given_shapes, strict=True):
        assert (one.kind, one.parts, one.name) == (other.kind, other.parts, other.name)
        assert (one.group, one.color, one.id) == (other.group, other.color, other.id)


def test_what_a_flat_list_cannot_hold_is_told() -> None:
    child = {"type": "Feature", "geometry": {"type": "Point", "coordinates": [1, 2, 3]}, "properties": {}}
    lines = {"type": "MultiLineString", "coordinates": [[[0, 0], [1, 1]], [[2, 2], [3, 3]]]}
    parent = {
        "type": "Feature", "id": "p", "geometry": {"type": "GeometryCollection", "geometries": [lines]},
        "nucleusGeometry": {"type": "Polygon", "coordinates": [OUTER]},
        "properties": {
            "childObjects": [child], "measurements": {"a": 1}, "classification": {"name": "C", "color": [9, 8, 7]}
        },
    }  # fmt: skip
    found, lost = to_shapes([parent, {"type": "Point", "coordinates": [4, 5]}])
    assert [shape.kind for shape in found] == [LINE, LINE, POINTS, POINTS]
    assert (found[0].group, found[0].color) == ("C", (9, 8, 7))
    assert found[2].parts == [[[[1.0, 2.0]]]]
    text = "; ".join(lost)
    assert all(word in text for word in ("objects in them", "measurements", "a nucleus", "several parts"))


def test_rings_within_rings_are_holes_and_islands() -> None:
    assert nested_rings([HOLE, ISLAND, OUTER]) == [[ISLAND], [OUTER, HOLE]]
    assert nested_rings([OUTER, rectangle(20, 0, 30, 10)]) == [[OUTER], [rectangle(20, 0, 30, 10)]]


@given(st.floats(-1e4, 1e4), st.floats(-1e4, 1e4), st.floats(1, 1e3), st.floats(1, 1e3))
def test_an_ellipse_has_the_box_and_nearly_the_area_that_it_should(
    x: float, y: float, wide: float, high: float
) -> None:
    outline = ellipse(x, y, x + wide, y + high)
    assert outline[0] == outline[-1]
    np.testing.assert_allclose(bounds(outline), (x, y, x + wide, y + high), atol=1e-6)
    assert shapely.Polygon(outline).area == pytest.approx(math.pi * wide * high / 4, rel=5e-4)


def test_a_ring_is_closed_once() -> None:
    assert ring([(0, 0), (1, 0), (1, 1)]) == ring([(0, 0), (1, 0), (1, 1), (0, 0)])
