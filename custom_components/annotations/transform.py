"""Annotations carried through a stored field, and what a careful user wants to be told about them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from custom_components.annotations.coordinates import Coordinates
from custom_components.annotations.densify import densify
from custom_components.annotations.point_map import PointMap
from custom_components.annotations.ragged import NO_POLYGON, RaggedCoordinates, parse_annotations
from custom_components.annotations.validity import self_intersecting, signed_areas
from custom_components.common.arrays import Index, Points
from custom_components.pairs.geojson import without_collection

TOLERANCE = 0.1  # pixels of the target's full resolution between a side and the curve that it stands for
DECIMALS = 3
ERROR_NAME = "expected_error"
COUNTERPART_NAME = "counterpart"  # whether fixed tissue has one; asked where some has none
SAID = 5  # ids in a message


@dataclass(frozen=True)
class TransformReport:
    """What happened to the objects of a file.

    Attributes:
        objects: how many there are.
        added: points put between the given ones.
        beyond_source: how many reach beyond the image that they should lie on.
        beyond_target: how many reach beyond the image that they were carried to; they are kept.
        self_intersecting: ids of those whose outline crosses itself now and did not before: the field folds there.
        self_intersecting_before: how many crossed themselves before.
        flipped: ids of those that the field turned inside out.
        measured: how many have measurements, which are those of the source image.
    """

    objects: int
    added: int = 0
    beyond_source: int = 0
    beyond_target: int = 0
    self_intersecting: tuple[str, ...] = ()
    self_intersecting_before: int = 0
    flipped: tuple[str, ...] = ()
    measured: int = 0

    def notes(self, way: PointMap, what: str = "objects") -> list[str]:
        """What the user should know, a sentence each; none where nothing is odd."""
        found = []
        total = f"of {self.objects} {what}"
        if self.beyond_source:
            found.append(
                f"{self.beyond_source} {total} reach beyond the {way.source} image "
                f"({_size(way.source_grid.shape)}): are they of this image, and in this unit?"
            )
        if self.beyond_target:
            found.append(
                f"{self.beyond_target} {total} reach beyond the {way.target} image "
                f"({_size(way.target_grid.shape)}); they are kept"
            )
        if self.self_intersecting:
            crossing = _ids(self.self_intersecting, total)
            found.append(f"{crossing} cross themselves where the field folds; written as they are")
        if self.flipped:
            flipped = _ids(self.flipped, total)
            found.append(f"{flipped} are turned inside out where the field folds; written as they are")
        if self.self_intersecting_before:
            found.append(f"{self.self_intersecting_before} {total} crossed themselves already")
        if self.measured:
            found.append(f"{self.measured} {total} have measurements; they stay those of the {way.source} image")
        return found


def warp_geojson(
    data: Any, way: PointMap, source: Coordinates, target: Coordinates, tolerance: float = TOLERANCE
) -> tuple[Any, TransformReport]:
    """A copy of GeoJSON with every position carried over, and what happened.

    Where the way knows how far it may be off, objects get the properties ``expected_error`` and
    ``largest_expected_error``: the median and the largest expected error of the positions given, pixels of the target.
    Where part of the fixed tissue has no counterpart, objects also get ``counterpart``: false for those that lie there
    by more than half of their positions.

    Ids, properties, holes, nesting, planes, Z values and unknown members are kept; ``bbox`` and ``isEllipse``, which
    would no longer be true, are left out. Rings stay closed.

    Args:
        data: as ``pairs.read_geojson`` gives it.
        way: from the image that it lies on to the other.
        source: what its numbers mean.
        target: what they shall mean in the copy.
        tolerance: pixels of the target image; points are added to sides that would be farther off than this.

    Raises:
        InputError: an unknown type, or coordinates that are not as the type wants them.
    """
    with without_collection():
        parts = parse_annotations(data)
        chains = parts.chains
        pixels = source.to_pixels(chains.points)
        moved = densify(pixels, chains.starts, chains.joined, way, way.step, tolerance)
        places = target.from_pixels(moved.points).round(DECIMALS)
        carried = _compared(chains, parts.names, pixels, moved.points, places, moved.starts, way)
        if way.error_map is not None:
            given = moved.points[moved.origin % 1 == 0]
            errors = way.errors(pixels, given)[:, 0]
            parts.add_properties(_error_properties(errors, chains, len(parts.names)))
            if way.error_map.has_unknown:
                parts.add_properties({COUNTERPART_NAME: _have_counterparts(errors, pixels, chains, len(parts.names))})
        copy = parts.with_points(places, moved.starts, moved.origin, DECIMALS)
    return copy, TransformReport(
        **carried, objects=len(parts.names), added=len(moved.points) - len(pixels), measured=parts.measured
    )


def warp_points_reported(points: Points, way: PointMap) -> tuple[Points, TransformReport]:
    """(N, D) pixels, array-axis order, centres at integers, carried over, and what happened to them; NaN stay NaN."""
    moved = way(points)
    found = TransformReport(
        objects=int(np.isfinite(points).all(axis=1).sum()),
        beyond_source=int(_beyond(points, way.source_grid.shape).sum()),
        beyond_target=int(_beyond(moved, way.target_grid.shape).sum()),
    )
    return moved, found


def _error_properties(errors: Points, chains: RaggedCoordinates, objects: int) -> dict[str, list[float | None]]:
    """Median and largest of (N,) errors of the positions, an object each; None where it has none."""
    owner = np.repeat(chains.owner, np.diff(chains.starts))[np.isfinite(errors)]
    order = np.argsort(owner, kind="stable")
    parts = np.split(errors[np.isfinite(errors)][order], np.searchsorted(owner[order], np.arange(1, objects)))
    kinds: dict[str, Callable[[Points], Any]] = {ERROR_NAME: np.median, f"largest_{ERROR_NAME}": np.max}
    return {
        name: [round(float(kind(part)), DECIMALS) if len(part) else None for part in parts]
        for name, kind in kinds.items()
    }


def _have_counterparts(errors: Points, pixels: Points, chains: RaggedCoordinates, objects: int) -> list[bool]:
    """Whether at least half of each object's positions have a known error."""
    owner = np.repeat(chains.owner, np.diff(chains.starts))
    asked = np.isfinite(pixels).all(axis=1)
    total, unknown = (np.bincount(owner[part], minlength=objects) for part in (asked, asked & np.isnan(errors)))
    return [bool(2 * without <= count) for without, count in zip(unknown, total, strict=True)]


def _compared(
    chains: RaggedCoordinates,
    names: Sequence[str],
    before: Points,
    after: Points,
    written: Points,
    starts: Index,
    way: PointMap,
) -> dict[str, Any]:
    """The figures of ``Carried`` that compare both sides."""
    owner = np.repeat(chains.owner, np.diff(chains.starts))
    owner_after = np.repeat(chains.owner, np.diff(starts))
    crossed = self_intersecting(written, starts, chains)
    already = self_intersecting(before, chains.starts, chains, crossed)
    areas = signed_areas(before, chains.starts), signed_areas(after, starts)
    opposite = (areas[0] * areas[1] > 0) if way.turns_over else (areas[0] * areas[1] < 0)
    flipped = opposite & (chains.polygon != NO_POLYGON) & ~np.isin(chains.polygon, crossed)
    return {
        "beyond_source": len(np.unique(owner[_beyond(before, way.source_grid.shape)])),
        "beyond_target": len(np.unique(owner_after[_beyond(after, way.target_grid.shape)])),
        "self_intersecting": _names_owning(np.setdiff1d(crossed, already), chains, names),
        "self_intersecting_before": len(np.unique(chains.owner[np.isin(chains.polygon, already)])),
        "flipped": tuple(names[number] for number in np.unique(chains.owner[flipped])),
    }


def _names_owning(polygons: Index, chains: RaggedCoordinates, names: Sequence[str]) -> tuple[str, ...]:
    return tuple(names[number] for number in np.unique(chains.owner[np.isin(chains.polygon, polygons)]))


def _beyond(points: Points, shape: tuple[int, ...]) -> npt.NDArray[np.bool_]:
    """Whether (N, D) pixels lie outside the outer edges of an image, a pixel spared for rounding."""
    return np.asarray(((points < -1.5) | (points > np.array(shape) + 0.5)).any(axis=1))


def _size(shape: tuple[int, ...]) -> str:
    return " x ".join(str(side) for side in reversed(shape)) + (" pixels" if len(shape) == 2 else " voxels")


def _ids(names: tuple[str, ...], total: str) -> str:
    listed = ", ".join(names[:SAID]) + (", ..." if len(names) > SAID else "")
    return f"{len(names)} {total} ({listed})"
