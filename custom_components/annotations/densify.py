"""Straight sides that follow a bending field: points are added where a side would leave the curve it becomes.

Each side is read densely enough to see the field's bends (at ``step``), its pieces are halved while they still bend,
and what a straight line does as well is left out again (Ramer 1972; Douglas and Peucker 1973). All sides of all
chains go through together, so the map is called a few times whatever their number.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from custom_components.common.arrays import Index, Points

PointMap = Callable[[Points], Points]
MAX_SAMPLES = 10_000_000  # of all sides at first: positions far outside must not fill the memory
MAX_HALVINGS = 6  # of each piece


@dataclass(frozen=True)
class Followed:
    """Mapped chains.

    Attributes:
        points: (K, D) mapped; those given are among them.
        origin: (K,) where they lie on the chains given: 2.5 is the middle between the positions 2 and 3.
        starts: (M + 1,) of the chains.
    """

    points: Points
    origin: Points
    starts: Index


def densify(
    points: Points, starts: Index, joined: npt.NDArray[np.bool_], function: PointMap, step: float, tolerance: float
) -> Followed:
    """Map chains so that no side is farther than ``tolerance`` from the curve that the given side becomes.

    The curve is looked at every ``step`` and, where it bends there, in halves of that, so what it does within a step
    without showing at the middle is not seen. Where the map is affine no point is added.

    Args:
        points: (N, D) positions of all chains, one chain after the other.
        starts: (M + 1,) chain i is ``points[starts[i]:starts[i + 1]]``.
        joined: (M,) whether a chain's neighbours are joined by sides; those of others get no points.
        function: (n, D) -> (n, D).
        step: unit of ``points``: half the distance between the voxels of a field sees all it does.
        tolerance: unit of the mapped points.
    """
    if len(points) == 0:
        return Followed(points.copy(), np.zeros(0), starts.copy())
    mapped = function(points)
    inner = np.ones(len(points), dtype=bool)  # whether a position has a side after it
    inner[starts[1:][starts[1:] > starts[:-1]] - 1] = False
    inner &= np.repeat(joined, np.diff(starts))
    sides = np.flatnonzero(inner)
    places, values = _sampled(points, mapped, sides, function, step, tolerance / 2)
    keep = _needed(mapped, sides, places, values, tolerance / 2)
    places, values = places[keep], values[keep]
    origin = np.concatenate([np.arange(len(points), dtype=np.float64), places])
    order = np.argsort(origin, kind="stable")
    owner = places.astype(np.int64)
    return Followed(
        np.concatenate([mapped, values])[order], origin[order], starts + np.searchsorted(owner, starts, "left")
    )


def _along(points: Points, places: Points) -> Points:
    """(n, D) positions on the sides: place 2.5 is the middle between 2 and 3."""
    first = places.astype(np.int64)
    fraction = (places - first)[:, None]
    return np.asarray(points[first] * (1 - fraction) + points[np.minimum(first + 1, len(points) - 1)] * fraction)


def _sampled(
    points: Points, mapped: Points, sides: Index, function: PointMap, step: float, tolerance: float
) -> tuple[Points, Points]:
    """Places on the sides, ascending, and the map there: every ``step``, and closer where it bends."""
    lengths = np.linalg.norm(points[sides + 1] - points[sides], axis=1)
    step = max(step, float(lengths.sum()) / MAX_SAMPLES)
    counts = np.maximum(np.ceil(lengths / step), 1).astype(np.int64)
    owner = np.repeat(sides, counts)
    piece = np.arange(len(owner)) - np.repeat(np.cumsum(counts) - counts, counts)
    fraction = np.repeat(counts, counts)
    low, high = owner + piece / fraction, owner + (piece + 1) / fraction
    start, end = mapped[owner], mapped[owner + 1]
    cut = piece > 0
    found, values = [low[cut]], [function(_along(points, low[cut]))]
    start[cut] = values[0]
    end[piece < fraction - 1] = values[0]  # the piece before ends where this one starts
    for _ in range(MAX_HALVINGS):
        middle = (low + high) / 2
        value = function(_along(points, middle))
        bent = _distance(value, start, end) > tolerance
        if not bent.any():
            break
        middle, value = middle[bent], value[bent]
        found.append(middle)
        values.append(value)
        low, high = np.concatenate([low[bent], middle]), np.concatenate([middle, high[bent]])
        start, end = np.concatenate([start[bent], value]), np.concatenate([value, end[bent]])
    places = np.concatenate(found)
    order = np.argsort(places, kind="stable")
    return places[order], np.concatenate(values)[order]


def _needed(mapped: Points, sides: Index, places: Points, values: Points, tolerance: float) -> npt.NDArray[np.bool_]:
    """Which of the samples the sides need to stay within ``tolerance`` of all samples."""
    keep = np.zeros(len(places), dtype=bool)
    owner = places.astype(np.int64)
    # intervals between kept samples: (first, last) sample inside, and the ends of the straight line over it
    first = np.searchsorted(owner, sides, "left")
    last = np.searchsorted(owner, sides, "right")
    filled = last > first
    first, last, start, end = first[filled], last[filled], mapped[sides[filled]], mapped[sides[filled] + 1]
    while len(first):
        counts = last - first
        offsets = np.cumsum(counts) - counts
        samples = np.arange(counts.sum()) + np.repeat(first - offsets, counts)
        distance = _distance(values[samples], np.repeat(start, counts, axis=0), np.repeat(end, counts, axis=0))
        largest = np.maximum.reduceat(distance, offsets)
        at_peak = np.flatnonzero(distance == np.repeat(largest, counts))
        peak = samples[at_peak[np.searchsorted(at_peak, offsets, "left")]]
        off = largest > tolerance
        peak, first, last, start, end = peak[off], first[off], last[off], start[off], end[off]
        keep[peak] = True
        first, last = np.concatenate([first, peak + 1]), np.concatenate([peak, last])
        start, end = np.concatenate([start, values[peak]]), np.concatenate([values[peak], end])
        filled = last > first
        first, last, start, end = first[filled], last[filled], start[filled], end[filled]
    return keep


def _distance(points: Points, start: Points, end: Points) -> Points:
    """(n,) distance of points to the straight sides from ``start`` to ``end``."""
    side, offset = end - start, points - start
    square = np.einsum("ij,ij->i", side, side)
    fraction = np.einsum("ij,ij->i", offset, side) / np.where(square > 0, square, 1)
    return np.asarray(np.linalg.norm(offset - np.clip(fraction, 0, 1)[:, None] * side, axis=1))
