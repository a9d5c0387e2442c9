"""What bending did to polygons: whether they cross themselves or were turned inside out."""

from __future__ import annotations

import numpy as np
import shapely

from custom_components.annotations.ragged import NO_POLYGON, RaggedCoordinates
from custom_components.common.arrays import Index, Points

SMALLEST_RING = 4  # positions: a triangle and its first corner again


def self_intersecting(points: Points, starts: Index, chains: RaggedCoordinates, some: Index | None = None) -> Index:
    """Numbers of the polygons that cross or touch themselves, or whose holes leave them; ascending.

    Args:
        points: (K, 2) positions of all chains.
        starts: (M + 1,) of the chains.
        chains: which of them belong to which polygon.
        some: look at these polygons only.
    """
    counts = np.diff(starts)
    ring = chains.polygon != NO_POLYGON
    closed = ring & (counts >= SMALLEST_RING)
    closed[closed] = (points[starts[:-1][closed]] == points[starts[1:][closed] - 1]).all(axis=1)
    ring &= ~np.isin(chains.polygon, chains.polygon[ring & ~closed])  # what has an open ring can't be judged
    if some is not None:
        ring &= np.isin(chains.polygon, some)
    rings = np.flatnonzero(ring)
    if len(rings) == 0:
        return np.zeros(0, dtype=np.int64)
    numbers, firsts = np.unique(chains.polygon[rings], return_index=True)
    sizes = counts[rings]
    own = np.concatenate([[0], np.cumsum(sizes)])
    rows = np.arange(own[-1]) + np.repeat(starts[rings] - own[:-1], sizes)
    polygons = shapely.from_ragged_array(
        shapely.GeometryType.POLYGON, points[rows], (own, np.append(firsts, len(rings)))
    )
    return np.asarray(numbers[~shapely.is_valid(polygons)], dtype=np.int64)


def signed_areas(points: Points, starts: Index) -> Points:
    """(M,) areas of all chains as rings, x, y: positive where they run from x to y; open ones are closed."""
    counts = np.diff(starts)
    if len(points) == 0:
        return np.zeros(len(counts))
    # relative to each chain's first position, so that small rings far from the origin keep their digits
    local = points - np.repeat(points[np.minimum(starts[:-1], len(points) - 1)], counts, axis=0)
    following = np.roll(local, -1, axis=0)
    following[starts[1:][counts > 0] - 1] = 0
    cross = local[:, 0] * following[:, 1] - local[:, 1] * following[:, 0]
    return np.bincount(np.repeat(np.arange(len(counts)), counts), cross, len(counts)) / 2
