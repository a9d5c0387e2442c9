"""Annotations carried through a stored field, and what a careful user wants to be told about them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from custom_components.annotations.chains import NO_POLYGON, Chains, take_apart
from custom_components.annotations.coordinates import Coordinates
from custom_components.annotations.densify import follow_bends
from custom_components.annotations.point_map import PointMap
from custom_components.annotations.validity import crossing, signed_areas
from custom_components.pairs.geojson import without_collection

Points = npt.NDArray[np.float64]
Index = npt.NDArray[np.int64]
TOLERANCE = 0.1  # pixels of the target's full resolution between a side and the curve that it stands for
DECIMALS = 3
SAID = 5  # ids in a message


@dataclass(frozen=True)
class Carried:
    """What happened to the objects of a file.

    Attributes:
        objects: how many there are.
        added: points put between the given ones.
        beyond_source: how many reach beyond the image that they should lie on.
        beyond_target: how many reach beyond the image that they were carried to; they are kept.
        crossing: ids of those whose outline crosses itself now and did not before: the field folds there.
        crossing_before: how many crossed themselves before.
        turned: ids of those that the field turned inside out.
        measured: how many have measurements, which are those of the source image.
    """

    objects: int
    added: int = 0
    beyond_source: int = 0
    beyond_target: int = 0
    crossing: tuple[str, ...] = ()
    crossing_before: int = 0
    turned: tuple[str, ...] = ()
    measured: int = 0

    def notes(self, way: PointMap, what: str = "objects") -> list[str]:
        """What the user should know, a sentence each; none where nothing is odd."""
        found = []
        total = f"of {self.objects} {what}"
        if self.beyond_source:
            found.append(
                f"{self.beyond_source} {total} reach beyond the {way.source} image "
                f"({_size(way.source_grid.shape)} pixels): are they of this image, and in this unit?"
            )
        if self.beyond_target:
            found.append(
                f"{self.beyond_target} {total} reach beyond the {way.target} image "
                f"({_size(way.target_grid.shape)} pixels); they are kept"
            )
        if self.crossing:
            found.append(f"{_ids(self.crossing, total)} cross themselves where the field folds; written as they are")
        if self.turned:
            found.append(f"{_ids(self.turned, total)} are turned inside out where the field folds; written as they are")
        if self.crossing_before:
            found.append(f"{self.crossing_before} {total} crossed themselves already")
        if self.measured:
            found.append(f"{self.measured} {total} have measurements; they stay those of the {way.source} image")
        return found


def carry_geojson(
    data: Any, way: PointMap, source: Coordinates, target: Coordinates, tolerance: float = TOLERANCE
) -> tuple[Any, Carried]:
    """A copy of GeoJSON with every position carried over, and what happened.

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
        parts = take_apart(data)
        chains = parts.chains
        pixels = source.to_pixels(chains.points)
        moved = follow_bends(pixels, chains.starts, chains.joined, way, way.step, tolerance)
        places = target.from_pixels(moved.points).round(DECIMALS)
        carried = _compared(chains, parts.names, pixels, moved.points, places, moved.starts, way)
        copy = parts.with_points(places, moved.starts, moved.origin, DECIMALS)
    return copy, Carried(
        **carried, objects=len(parts.names), added=len(moved.points) - len(pixels), measured=parts.measured
    )


def carry_points_told(points: Points, way: PointMap) -> tuple[Points, Carried]:
    """(N, 2) row, col pixels, centres at integers, carried over, and what happened to them."""
    moved = way(points)
    found = Carried(
        objects=len(points),
        beyond_source=int(_beyond(points, way.source_grid.shape).sum()),
        beyond_target=int(_beyond(moved, way.target_grid.shape).sum()),
    )
    return moved, found


def _compared(
    chains: Chains, names: Sequence[str], before: Points, after: Points, written: Points, starts: Index, way: PointMap
) -> dict[str, Any]:
    """The figures of ``Carried`` that compare both sides."""
    owner = np.repeat(chains.owner, np.diff(chains.starts))
    owner_after = np.repeat(chains.owner, np.diff(starts))
    crossed = crossing(written, starts, chains)
    already = crossing(before, chains.starts, chains, crossed)
    areas = signed_areas(before, chains.starts), signed_areas(after, starts)
    flipped = (areas[0] * areas[1] > 0) if way.turns_over else (areas[0] * areas[1] < 0)
    turned = flipped & (chains.polygon != NO_POLYGON) & ~np.isin(chains.polygon, crossed)
    return {
        "beyond_source": len(np.unique(owner[_beyond(before, way.source_grid.shape)])),
        "beyond_target": len(np.unique(owner_after[_beyond(after, way.target_grid.shape)])),
        "crossing": _names_of(np.setdiff1d(crossed, already), chains, names),
        "crossing_before": len(np.unique(chains.owner[np.isin(chains.polygon, already)])),
        "turned": tuple(names[number] for number in np.unique(chains.owner[turned])),
    }


def _names_of(polygons: Index, chains: Chains, names: Sequence[str]) -> tuple[str, ...]:
    return tuple(names[number] for number in np.unique(chains.owner[np.isin(chains.polygon, polygons)]))


def _beyond(points: Points, shape: tuple[int, ...]) -> npt.NDArray[np.bool_]:
    """Whether (N, 2) row, col lie outside the outer edges of an image, a pixel spared for rounding."""
    return np.asarray(((points < -1.5) | (points > np.array(shape) + 0.5)).any(axis=1))


def _size(shape: tuple[int, ...]) -> str:
    return " x ".join(str(side) for side in reversed(shape))


def _ids(names: tuple[str, ...], total: str) -> str:
    listed = ", ".join(names[:SAID]) + (", ..." if len(names) > SAID else "")
    return f"{len(names)} {total} ({listed})"
