"""GeoJSON annotations as QuPath writes them, carried through any point map with everything else untouched."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from custom_components.errors import InputError
from custom_components.pairs.atomic import atomic_path

Points = npt.NDArray[np.float64]
PointMap = Callable[[Points], Points]
DEPTH = {"Point": 0, "MultiPoint": 1, "LineString": 1, "MultiLineString": 2, "Polygon": 2, "MultiPolygon": 3}
LINES = ("LineString", "MultiLineString", "Polygon", "MultiPolygon")


def read_geojson(path: str | Path) -> Any:
    """The parsed file: a FeatureCollection, a Feature, a geometry, or QuPath's bare list of features.

    Raises:
        InputError: no such file, no JSON, or no GeoJSON.
    """
    file = Path(path)
    if not file.is_file():
        raise InputError(f"annotations {file} do not exist")
    try:
        data = json.loads(file.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        raise InputError(f"annotations {file} are no JSON: {error}") from error
    if not isinstance(data, list) and not (isinstance(data, dict) and "type" in data):
        raise InputError(f"annotations {file} are no GeoJSON: neither a list of features nor an object with a type")
    return data


def write_geojson(path: str | Path, data: Any) -> None:
    """Write GeoJSON, whole or not at all."""
    with atomic_path(path) as partial:
        partial.write_text(json.dumps(data), encoding="utf-8")


def map_geojson(data: Any, function: PointMap, densify: float | None = None) -> Any:
    """A copy with every coordinate mapped; ids, properties, holes, Z values and unknown members are kept.

    Args:
        data: what ``read_geojson`` gives.
        function: (N, 2) row, col pixels -> (N, 2) row, col pixels.
        densify: longest side of a line or polygon before it is mapped, in pixels; longer ones get points in
            between, so that straight sides follow a bending field. None adds none.

    Raises:
        InputError: an unknown type, or coordinates that are not as the type wants them.
    """
    if isinstance(data, list):
        return [map_geojson(item, function, densify) for item in data]
    if not isinstance(data, dict):
        raise InputError(f"GeoJSON holds {str(data)[:40]!r} where a feature or geometry belongs")
    kind = data.get("type")
    mapped = {key: value for key, value in data.items() if key != "bbox"}  # a box would no longer be true
    if kind == "FeatureCollection":
        mapped["features"] = [map_geojson(item, function, densify) for item in _list(data, "features")]
    elif kind == "Feature":
        for key in ("geometry", "nucleusGeometry"):  # QuPath's cells have two outlines
            if data.get(key) is not None:
                mapped[key] = map_geojson(data[key], function, densify)
    elif kind == "GeometryCollection":
        mapped["geometries"] = [map_geojson(item, function, densify) for item in _list(data, "geometries")]
    elif kind in DEPTH:
        step = densify if kind in LINES else None
        coordinates = _list(data, "coordinates")
        try:
            _check_positions(coordinates, DEPTH[kind])
        except TypeError as error:
            raise InputError(f"GeoJSON {kind} has {error} where a position [x, y] belongs") from error
        mapped["coordinates"] = _map_nested(coordinates, DEPTH[kind], function, step)
    else:
        raise InputError(f"GeoJSON type '{kind}' is unknown; known are Feature, FeatureCollection, {', '.join(DEPTH)}")
    return mapped


def _list(data: dict[str, Any], key: str) -> list[Any]:
    if not isinstance(data.get(key), list):
        raise InputError(f"GeoJSON {data['type']} has no list '{key}'")
    return list(data[key])


def _check_positions(coordinates: Any, depth: int) -> None:
    """Raise ``TypeError`` with what stands in the place of a position; an empty Point is none."""
    if not isinstance(coordinates, list):
        raise TypeError(repr(coordinates)[:40])
    if depth > 0:
        for part in coordinates:
            if depth == 1 and part == []:
                raise TypeError("[]")
            _check_positions(part, depth - 1)
    elif coordinates and (len(coordinates) < 2 or not all(type(v) in (int, float) for v in coordinates[:2])):
        raise TypeError(repr(coordinates)[:40])


def _map_nested(coordinates: Any, depth: int, function: PointMap, densify: float | None) -> Any:
    if depth > 1:
        return [_map_nested(part, depth - 1, function, densify) for part in coordinates]
    if not coordinates:
        return []
    rows = [coordinates] if depth == 0 else list(coordinates)
    if densify is not None:
        rows = _densify(rows, densify)
    xy = np.array([row[:2] for row in rows], dtype=np.float64)
    moved = function(xy[:, ::-1])[:, ::-1]
    result = [[float(x), float(y), *row[2:]] for (x, y), row in zip(moved, rows, strict=True)]
    return result[0] if depth == 0 else result


def _densify(rows: list[Any], step: float) -> list[Any]:
    """Points in between so that no side is longer than ``step``; the given points all stay."""
    dense = [rows[0]]
    for start, end in pairwise(rows):
        shared = min(len(start), len(end))  # Z may be missing at one of both
        a, b = np.array(start[:shared], dtype=np.float64), np.array(end[:shared], dtype=np.float64)
        parts = max(1, int(np.ceil(np.linalg.norm(b[:2] - a[:2]) / step)))
        dense += [(a + (b - a) * k / parts).tolist() for k in range(1, parts)] + [end]
    return dense
