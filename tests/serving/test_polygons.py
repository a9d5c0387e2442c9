"""Annotations in the form of MONAI Label's writers."""

from __future__ import annotations

from custom_components.serving import to_polygons

RING, HOLE = [[0, 0], [4, 0], [4, 4], [0, 0]], [[1, 1], [2, 1], [2, 2], [1, 1]]


def feature(geometry, **properties):
    return {"type": "Feature", "geometry": geometry, "properties": properties}


def test_every_outline_comes_with_the_name_of_its_class():
    data = {
        "type": "FeatureCollection",
        "features": [
            feature({"type": "Polygon", "coordinates": [RING, HOLE]}, classification={"name": "Tumor"}, name="x"),
            feature({"type": "MultiPolygon", "coordinates": [[RING], [HOLE]]}, name="my region"),
            feature({"type": "Point", "coordinates": [1, 2]}, name="left out"),
            feature(None, name="empty"),
        ],
    }
    annotation = to_polygons(data)
    assert annotation["elements"] == [
        {"label": "Tumor", "contours": [RING, HOLE]},
        {"label": "my region", "contours": [RING, HOLE]},
    ]
    assert set(annotation["labels"]) == {"Tumor", "my region"}


def test_names_hold_nothing_that_would_be_markup():
    label = to_polygons([feature({"type": "Polygon", "coordinates": [RING]}, name='"><a & b')])["elements"][0]["label"]
    assert not set('<>&"') & set(label)


def test_height_is_left_out_and_nothing_is_nothing():
    assert to_polygons({"type": "Polygon", "coordinates": [[[1, 2, 9]]]})["elements"][0]["contours"] == [[[1, 2]]]
    assert to_polygons([]) == {"labels": {}, "elements": []}
