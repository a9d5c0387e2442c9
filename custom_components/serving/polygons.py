"""Annotations in the form that MONAI Label writes as ASAP's XML and as JSON of the Digital Slide Archive."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

PLAIN = re.compile(r"[^\w .,()+-]")  # what would need escaping in XML


def to_polygons(geojson: Any) -> dict[str, Any]:
    """``{"labels": {name: colour}, "elements": [{"label", "contours"}]}`` of the polygons of a GeoJSON.

    Both forms have closed outlines only: holes become outlines of their own, points and lines are left out.
    """
    elements = [{"label": name, "contours": rings} for name, rings in _outlines(geojson, "annotation")]
    return {"labels": {str(e["label"]): None for e in elements}, "elements": elements}


def _outlines(data: Any, name: str) -> Iterator[tuple[str, list[Any]]]:
    if isinstance(data, list):
        for item in data:
            yield from _outlines(item, name)
        return
    kind = data.get("type")
    if kind == "FeatureCollection":
        yield from _outlines(data["features"], name)
    elif kind == "GeometryCollection":
        yield from _outlines(data["geometries"], name)
    elif kind == "Feature" and data.get("geometry"):
        yield from _outlines(data["geometry"], _label_name(data.get("properties") or {}))
    elif kind == "Polygon":
        yield name, [[point[:2] for point in ring] for ring in data["coordinates"]]
    elif kind == "MultiPolygon":
        yield name, [[point[:2] for point in ring] for polygon in data["coordinates"] for ring in polygon]


def _label_name(properties: dict[str, Any]) -> str:
    """QuPath's class or else the object's own name."""
    kind = properties.get("classification")
    found = (kind.get("name") if isinstance(kind, dict) else kind) or properties.get("name") or "annotation"
    return PLAIN.sub(" ", str(found))[:80].strip() or "annotation"
