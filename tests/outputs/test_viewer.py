"""What the viewer's page is made of: the frame of an image from its size, levels, lines of annotations."""

from __future__ import annotations

from custom_components.outputs.viewer import extract_outlines, frame_scale, halvings

RING = [[300, 200], [700, 200], [700, 600], [300, 200]]


def test_the_frame_is_found_from_the_size_alone():
    """Of the fixed image's levels, and of those averaged in squares, whose last ones are cut off."""
    levels = [(1101, 1503), (479, 653), (275, 375)]
    assert frame_scale((1101, 1503), levels) == (1, 1)
    assert frame_scale((551, 752), levels) == (2, 2)
    assert frame_scale((276, 376), levels) == (4, 4)
    assert frame_scale((275, 375), levels) == (4, 4)
    assert frame_scale((240, 327), levels) == (2 * 1101 / 479, 2 * 1503 / 653)
    assert frame_scale((64, 64), levels) is None
    assert frame_scale((1101, 1400), levels) is None


def test_halvings_round_up():
    assert [halvings(side, 512) for side in (1, 512, 513, 1024, 1025)] == [0, 0, 1, 1, 2]


def test_outlines_are_found_in_every_form_of_geojson():
    assert extract_outlines({"type": "Polygon", "coordinates": [RING]}) == [RING]
    feature = {"type": "Feature", "geometry": {"type": "MultiPolygon", "coordinates": [[RING], [RING]]}}
    assert extract_outlines([feature, {"type": "Point", "coordinates": [1, 2]}]) == [RING, RING]
    collection = {"type": "GeometryCollection", "geometries": [{"type": "LineString", "coordinates": RING}]}
    assert extract_outlines(collection) == [RING]
    assert extract_outlines({"type": "Feature", "geometry": None}) == []
