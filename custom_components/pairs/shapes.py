"""GeoJSON as the flat list of named shapes that other programs' annotations are, and such shapes as GeoJSON."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import shapely

Ring = list[list[float]]  # [[x, y], ...]
POLYGON, LINE, POINTS = "polygon", "line", "points"
ELLIPSE_SIDES = 128  # its area is 0.04 % below the ellipse's
CHILDREN = ("childObjects", "children")


@dataclass
class Shape:
    """One shape of a file that knows no geometries within geometries.

    Attributes:
        kind: "polygon", "line" or "points".
        parts: of polygons each one's rings, the outline first, all closed; else one list of positions in a list.
        name: "" where it has none.
        group: its class; "" where it has none.
        color: red, green, blue; None where it has none.
        id: of the feature; "" where it has none.
        properties: of the feature, all of them.
    """

    kind: str
    parts: list[list[Ring]]
    name: str = ""
    group: str = ""
    color: tuple[int, int, int] | None = None
    id: str = ""
    properties: Mapping[str, Any] = field(default_factory=dict)


def to_feature(shape: Shape) -> dict[str, Any]:
    """The shape as a GeoJSON feature in QuPath's words."""
    if shape.kind == POLYGON:
        several = len(shape.parts) > 1
        geometry = {
            "type": "MultiPolygon" if several else "Polygon", "coordinates": shape.parts if several else shape.parts[0]
        }  # fmt: skip
    else:
        (positions,) = shape.parts[0]
        if shape.kind == LINE:
            geometry = {"type": "LineString", "coordinates": positions}  # type: ignore[dict-item]
        elif len(positions) == 1:
            geometry = {"type": "Point", "coordinates": positions[0]}  # type: ignore[dict-item]
        else:
            geometry = {"type": "MultiPoint", "coordinates": positions}  # type: ignore[dict-item]
    properties: dict[str, Any] = {"objectType": "annotation"}
    if shape.name:
        properties["name"] = shape.name
    if shape.group:
        properties["classification"] = {"name": shape.group}
    if shape.color is not None:
        properties["color"] = list(shape.color)
    feature = {"type": "Feature", "geometry": geometry, "properties": properties | dict(shape.properties)}
    return feature | ({"id": shape.id} if shape.id else {})


def to_collection(shapes: Sequence[Shape], **further: Any) -> dict[str, Any]:
    """All shapes as a FeatureCollection with further members."""
    return {"type": "FeatureCollection", "features": [to_feature(shape) for shape in shapes], **further}


def to_shapes(data: Any) -> tuple[list[Shape], list[str]]:
    """(the shapes of GeoJSON, what they leave out, a sentence each).

    Objects nested in others come after them, geometry collections and lines in several parts are taken apart.
    """
    lost: Counter[str] = Counter()
    found = [shape for feature in _features(data, lost) for shape in _of_feature(feature, lost)]
    return found, [f"{count} objects have {what}" for what, count in lost.items()]


def ring(points: Any) -> Ring:
    """Positions as a closed ring of plain numbers."""
    rows = [[float(x), float(y)] for x, y in points]
    return rows if len(rows) > 1 and rows[0] == rows[-1] else [*rows, rows[0]]


def rectangle(left: float, top: float, right: float, bottom: float) -> Ring:
    """The ring of an upright rectangle."""
    return ring([(left, top), (right, top), (right, bottom), (left, bottom)])


def ellipse(left: float, top: float, right: float, bottom: float) -> Ring:
    """The ring of the ellipse in an upright rectangle."""
    turns = [2 * math.pi * number / ELLIPSE_SIDES for number in range(ELLIPSE_SIDES)]
    x, y = (left + right) / 2, (top + bottom) / 2
    return ring([(x + (right - left) / 2 * math.cos(t), y + (bottom - top) / 2 * math.sin(t)) for t in turns])


def nested_rings(rings: Sequence[Ring]) -> list[list[Ring]]:
    """Polygons of rings: one that lies in an odd number of others is a hole of the smallest of them."""
    areas = [shapely.Polygon(r).area if len(r) > 3 else 0.0 for r in rings]
    around: list[list[int]] = []
    for number, mine in enumerate(rings):
        others = [i for i, _ in enumerate(rings) if i != number and areas[i] > areas[number]]
        around.append([i for i in others if len(mine) > 3 and _lies_in(mine, rings[i])])
    outlines = {number: [mine] for number, mine in enumerate(rings) if len(around[number]) % 2 == 0}
    for number, mine in enumerate(rings):
        if len(around[number]) % 2:
            outlines[min(around[number], key=areas.__getitem__)].append(mine)
    return list(outlines.values())


def _lies_in(inner: Ring, outer: Ring) -> bool:
    """Whether a ring lies in another one, whatever of their lines they share."""
    place = shapely.make_valid(shapely.Polygon(inner)).representative_point()
    return bool(shapely.make_valid(shapely.Polygon(outer)).contains(place))


def _features(data: Any, lost: Counter[str]) -> Iterator[Mapping[str, Any]]:
    if isinstance(data, list):
        for part in data:
            yield from _features(part, lost)
    elif data.get("type") == "FeatureCollection":
        yield from _features(data["features"], lost)
    elif data.get("type") == "Feature":
        yield data
        properties = data.get("properties") or {}
        for key in CHILDREN:
            children = properties.get(key)
            if isinstance(children, list) and children:
                lost["objects in them, which stand beside them now"] += 1
                yield from _features(children, lost)
    else:
        yield {"type": "Feature", "geometry": data, "properties": {}}


def _of_feature(feature: Mapping[str, Any], lost: Counter[str]) -> Iterator[Shape]:
    properties = feature.get("properties") or {}
    classified = properties.get("classification")
    group = classified.get("name") or "" if isinstance(classified, dict) else str(classified or "")
    color = properties.get("color") or (classified.get("color") if isinstance(classified, dict) else None)
    lost["measurements, which are left out"] += bool(properties.get("measurements"))
    lost["a nucleus, which is left out"] += bool(feature.get("nucleusGeometry"))
    known: dict[str, Any] = {
        "name": str(properties.get("name") or ""), "group": group, "id": str(feature.get("id") or ""),
        "color": _color(color), "properties": properties,
    }  # fmt: skip
    shapes = [Shape(kind, parts, **known) for kind, parts in _parts(feature.get("geometry") or {})]
    lost["several parts, which are shapes of their own now"] += len(shapes) > 1
    for key in [key for key, count in lost.items() if not count]:
        del lost[key]
    yield from shapes


def _parts(geometry: Mapping[str, Any]) -> Iterator[tuple[str, list[list[Ring]]]]:
    kind, coordinates = geometry.get("type"), geometry.get("coordinates")
    if kind == "GeometryCollection":
        for part in geometry["geometries"]:
            yield from _parts(part)
    elif not coordinates:
        return
    elif kind == "Polygon":
        yield POLYGON, [[_flat(r) for r in coordinates]]
    elif kind == "MultiPolygon":
        yield POLYGON, [[_flat(r) for r in polygon] for polygon in coordinates if polygon]
    elif kind == "LineString":
        yield LINE, [[_flat(coordinates)]]
    elif kind == "MultiLineString":
        for line in coordinates:
            yield LINE, [[_flat(line)]]
    else:
        yield POINTS, [[_flat([coordinates] if kind == "Point" else coordinates)]]


def _flat(positions: Any) -> Ring:
    return [[float(position[0]), float(position[1])] for position in positions]


def _color(value: Any) -> tuple[int, int, int] | None:
    """Red, green, blue of QuPath's list; None where it is none."""
    if isinstance(value, list) and len(value) >= 3 and all(isinstance(v, int) and 0 <= v < 256 for v in value[:3]):
        return value[0], value[1], value[2]
    return None


def bounds(points: Any) -> tuple[float, float, float, float]:
    """(left, top, right, bottom) of positions."""
    low, high = np.min(points, axis=0), np.max(points, axis=0)
    return float(low[0]), float(low[1]), float(high[0]), float(high[1])
