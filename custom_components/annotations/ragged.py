"""GeoJSON taken apart into one array of positions and put together again with others.

A chain is a list of positions: a ring, a line, or points that belong together. All chains of a file lie one after the
other in one array, so that a hundred thousand cells are mapped by one call.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt

from custom_components.common.arrays import Index, Points
from custom_components.common.errors import InputError

# how deep the chains of a geometry lie: 0 is a position by itself
DEPTH = {"Point": 0, "MultiPoint": 1, "LineString": 1, "MultiLineString": 2, "Polygon": 2, "MultiPolygon": 3}
POLYGONS = ("Polygon", "MultiPolygon")
POINTS = ("Point", "MultiPoint")
OUTLINES = ("geometry", "nucleusGeometry")  # QuPath's cells have two
CHILDREN = ("childObjects", "children")  # QuPath nests the objects of a hierarchy in the properties
# No longer true of what was bent. QuPath makes the ellipse of the outline's bounding box out of anything with
# isEllipse, so a turned ellipse would come back as another shape.
UNTRUE = ("bbox", "isEllipse")
NO_POLYGON = -1


@dataclass(frozen=True)
class RaggedCoordinates:
    """Positions of M chains of P polygons and F objects.

    Attributes:
        points: (N, 2) x, y as in the file.
        starts: (M + 1,) chain i is ``points[starts[i]:starts[i + 1]]``.
        joined: (M,) bool, whether neighbouring positions are joined by straight sides.
        polygon: (M,) number of the polygon that a ring belongs to, its outline before its holes; -1 for others.
        owner: (M,) number of the object.
    """

    points: Points
    starts: Index
    joined: npt.NDArray[np.bool_]
    polygon: Index
    owner: Index


@dataclass
class Annotations:
    """A GeoJSON file without its positions, and where they belong.

    Attributes:
        chains: the positions.
        names: of the F objects: their ids, else their names, else their numbers.
        measured: how many objects have measurements.
        places: container and key of each chain.
        single: whether a chain is one position rather than a list of them.
        further: what follows x and y in the positions of a chain, such as Z; by chain.
        features: the F objects' own members; None of a geometry by itself, which has no properties.
        data: the file's content.
    """

    chains: RaggedCoordinates
    names: list[str]
    measured: int
    places: list[tuple[Any, Any]]
    single: list[bool]
    further: dict[int, list[list[Any]]]
    features: list[dict[str, Any] | None]
    data: Any

    def with_points(self, points: Points, starts: Index, origin: Points, decimals: int = 3) -> Any:
        """The file's content with other positions.

        Args:
            points: (K, 2) x, y.
            starts: (M + 1,) of its chains.
            origin: (K,) where each of them lies in ``chains.points``: 2.5 is the middle between 2 and 3.
            decimals: that x and y keep.
        """
        rows = points.round(decimals).tolist()
        for number, (container, key) in enumerate(self.places):
            first, last = int(starts[number]), int(starts[number + 1])
            own = rows[first:last]
            if number in self.further:
                where = origin[first:last] - self.chains.starts[number]
                tails = _between(self.further[number], where)
                own = [row + tail for row, tail in zip(own, tails, strict=True)]
            container[key] = own[0] if self.single[number] else own
        return self.data

    def add_properties(self, values: Mapping[str, Sequence[float | None]]) -> None:
        """Give the objects numbers as properties, F of each; None leaves an object without."""
        for place, feature in enumerate(self.features):
            found = {name: column[place] for name, column in values.items() if column[place] is not None}
            if feature is not None and found:
                known = feature.get("properties")
                feature["properties"] = {**(known if isinstance(known, dict) else {}), **found}


@dataclass
class _Collector:
    flat: list[Any] = field(default_factory=list)
    lengths: list[int] = field(default_factory=list)
    joined: list[bool] = field(default_factory=list)
    polygon: list[int] = field(default_factory=list)
    owner: list[int] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    places: list[tuple[Any, Any]] = field(default_factory=list)
    single: list[bool] = field(default_factory=list)
    further: dict[int, list[list[Any]]] = field(default_factory=dict)
    features: list[dict[str, Any] | None] = field(default_factory=list)
    measured: int = 0
    polygons: int = 0

    def item(self, data: Any) -> Any:
        """A copy of any GeoJSON object with its positions taken out."""
        if not isinstance(data, dict):
            raise InputError(f"GeoJSON holds {_short(data)} where a feature or geometry belongs")
        kind = data.get("type")
        if kind == "FeatureCollection":
            return {**_still_true(data), "features": [self.item(part) for part in _list(data, "features")]}
        if kind == "Feature":
            return self.feature(data)
        if not self.names:
            self.names.append("1")  # a geometry by itself
            self.features.append(None)
        return self.geometry(data)

    def feature(self, data: dict[str, Any]) -> dict[str, Any]:
        copy = _still_true(data)
        properties = data.get("properties")
        known = properties if isinstance(properties, dict) else {}
        self.features.append(copy)
        self.names.append(str(data.get("id") or known.get("name") or len(self.names) + 1))
        self.measured += bool(known.get("measurements"))
        for key in OUTLINES:
            if data.get(key):  # QuPath writes {} for an object without an outline
                copy[key] = self.geometry(data[key])
        for key in CHILDREN:
            children = known.get(key)
            if isinstance(children, list) and all(isinstance(c, dict) and c.get("type") == "Feature" for c in children):
                copy["properties"] = {**copy["properties"], key: [self.feature(child) for child in children]}
        return copy

    def geometry(self, data: Any) -> dict[str, Any]:
        kind = data.get("type") if isinstance(data, dict) else None
        if kind == "GeometryCollection":
            parts = [self.geometry(part) for part in _list(data, "geometries")]
            return {**_still_true(data), "geometries": parts}
        if not isinstance(kind, str) or kind not in DEPTH:
            known = ", ".join(("Feature", "FeatureCollection", "GeometryCollection", *DEPTH))
            raise InputError(f"GeoJSON type '{str(kind)[:40]}' is unknown; known are {known}")
        copy = _still_true(data)
        self.nested(copy, "coordinates", _list(data, "coordinates"), DEPTH[kind], kind)
        return copy

    def nested(self, container: Any, key: Any, coordinates: Any, depth: int, kind: str) -> None:
        if not isinstance(coordinates, list):
            raise _misplaced(kind, coordinates)
        if depth < 2:
            if coordinates:
                self.chain(container, key, coordinates, depth == 0, kind)
            return
        parts: list[Any] = [[] for _ in coordinates]
        container[key] = parts
        for place, part in enumerate(coordinates):
            self.nested(parts, place, part, depth - 1, kind)
        if depth == 2 and kind in POLYGONS:
            self.polygons += 1

    def chain(self, container: Any, key: Any, coordinates: list[Any], single: bool, kind: str) -> None:
        rows = [coordinates] if single else coordinates
        sizes = set(map(len, rows)) if set(map(type, rows)) == {list} else {0}
        if min(sizes) < 2:
            raise _misplaced(kind, next(row for row in rows if not isinstance(row, list) or len(row) < 2))
        numbers = list(chain.from_iterable(rows))
        if not set(map(type, numbers)) <= {int, float}:
            raise _misplaced(kind, next(row for row in rows if not {type(v) for v in row} <= {int, float}))
        if sizes != {2}:
            self.further[len(self.lengths)] = [row[2:] for row in rows]
            numbers = [value for row in rows for value in row[:2]]
        self.flat.extend(numbers)
        self.lengths.append(len(rows))
        self.joined.append(kind not in POINTS)
        self.polygon.append(self.polygons if kind in POLYGONS else NO_POLYGON)
        self.owner.append(len(self.names) - 1)
        self.places.append((container, key))
        self.single.append(single)


def parse_annotations(data: Any) -> Annotations:
    """The positions of a GeoJSON file, and the rest of it; ``data`` is not changed.

    Args:
        data: as ``pairs.read_geojson`` gives it: FeatureCollection, Feature, geometry or a bare list of them. Objects
            that QuPath nests in others (``childObjects``) and the nuclei of its cells are taken along.

    Raises:
        InputError: an unknown type, or coordinates that are not as the type wants them.
    """
    found = _Collector()
    try:
        copy = [found.item(part) for part in data] if isinstance(data, list) else found.item(data)
        points = np.array(found.flat, dtype=np.float64).reshape(-1, 2)
    except OverflowError as error:
        raise InputError("GeoJSON has a position with a number that is too large") from error
    except RecursionError as error:
        raise InputError("GeoJSON has objects that are nested too deeply") from error
    starts = np.concatenate([[0], np.cumsum(found.lengths, dtype=np.int64)]).astype(np.int64)
    owner, polygon = np.array(found.owner, dtype=np.int64), np.array(found.polygon, dtype=np.int64)
    good = np.isfinite(points).all(axis=1)
    if not good.all():
        first = int(np.searchsorted(starts, np.argmin(good), "right")) - 1
        raise InputError(f"GeoJSON object '{found.names[owner[first]]}' has a position that is not a finite number")
    chains = RaggedCoordinates(points, starts, np.array(found.joined, dtype=bool), polygon, owner)
    return Annotations(
        chains, found.names, found.measured, found.places, found.single, found.further, found.features, copy
    )


def _still_true(data: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in data.items() if key not in UNTRUE}


def _list(data: dict[str, Any], key: str) -> list[Any]:
    if not isinstance(data.get(key), list):
        raise InputError(f"GeoJSON {data['type']} has no list '{key}'")
    return list(data[key])


def _misplaced(kind: str, what: Any) -> InputError:
    return InputError(f"GeoJSON {kind} has {_short(what)} where a position [x, y] belongs")


def _short(value: Any) -> str:
    """The beginning of a value, which may be nested deeper than ``repr`` goes."""
    try:
        return repr(value)[:40]
    except RecursionError:
        return f"a deeply nested {type(value).__name__}"


def _between(tails: list[list[Any]], where: Points) -> list[list[Any]]:
    """What follows x and y at places between positions: theirs at whole places, else linear in between."""
    found = []
    for place in where:
        left = int(place)
        fraction = float(place) - left
        if fraction == 0:
            found.append(tails[left])
        else:  # Z may be missing at one of both
            pair = zip(tails[left], tails[left + 1], strict=False)
            found.append([float(a + (b - a) * fraction) for a, b in pair])
    return found
