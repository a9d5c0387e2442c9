from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from custom_components.annotations import parse_annotations, self_intersecting, signed_areas

SQUARE = [[0, 0], [10, 0], [10, 10], [0, 10], [0, 0]]
BOW = [[0, 0], [10, 10], [10, 0], [0, 10], [0, 0]]
HOLE = [[2, 2], [4, 2], [4, 4], [2, 2]]


def _crossing(*polygons: list[Any], some: list[int] | None = None) -> list[int]:
    chains = parse_annotations([{"type": "Polygon", "coordinates": each} for each in polygons]).chains
    return self_intersecting(chains.points, chains.starts, chains, None if some is None else np.array(some)).tolist()


def test_crossing_polygons_are_found_by_number() -> None:
    assert _crossing([SQUARE], [BOW], [SQUARE, HOLE], [SQUARE, BOW]) == [1, 3]
    assert _crossing([SQUARE], [BOW], [SQUARE, HOLE], [SQUARE, BOW], some=[0, 3]) == [3]
    assert _crossing([SQUARE]) == []
    assert _crossing() == []


def test_holes_that_leave_their_outline_are_found() -> None:
    assert _crossing([SQUARE, [[2, 2], [40, 2], [4, 4], [2, 2]]]) == [0]


def test_what_is_no_closed_ring_is_not_judged() -> None:
    assert _crossing([BOW[:-1]], [[[1, 1], [2, 2], [1, 1]]], [BOW[:-1], HOLE], [BOW]) == [3]


def test_lines_are_not_judged() -> None:
    objects = [{"type": "LineString", "coordinates": BOW}, {"type": "Polygon", "coordinates": [BOW]}]
    chains = parse_annotations(objects).chains
    assert self_intersecting(chains.points, chains.starts, chains).tolist() == [0]


def _sides_cross(ring: np.ndarray) -> bool:
    """Whether two sides that share no corner meet, by brute force over all pairs."""
    sides = list(pairwise(ring))

    def side_of(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> float:
        return float((b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0]))

    for i, (a, b) in enumerate(sides):
        for j in range(i + 2, len(sides) - (i == 0)):
            c, d = sides[j]
            if side_of(a, b, c) * side_of(a, b, d) < 0 and side_of(c, d, a) * side_of(c, d, b) < 0:
                return True
    return False


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=30, deadline=None)
def test_crossings_are_those_of_brute_force(seed: int) -> None:
    rng = np.random.default_rng(seed)
    rings = []
    for _ in range(5):
        angles = np.sort(rng.uniform(0, 2 * np.pi, 7)) + rng.normal(size=7) * 0.6
        ring = np.stack([np.cos(angles), np.sin(angles)], axis=1) * rng.uniform(5, 20, (7, 1))
        rings.append(np.concatenate([ring, ring[:1]]))
    expected = [number for number, ring in enumerate(rings) if _sides_cross(ring)]
    assert _crossing(*[[ring.tolist()] for ring in rings]) == expected


def test_areas_have_the_sign_of_the_direction_and_do_not_lose_digits_far_away() -> None:
    far = np.array(SQUARE) / 1000 + 1e6
    points = np.concatenate([np.array(SQUARE, float), np.array(SQUARE, float)[::-1], far, BOW, SQUARE[:4]])
    starts = np.array([0, 5, 10, 10, 15, 20, 24])
    np.testing.assert_allclose(signed_areas(points, starts), [100, -100, 0, 1e-4, 0, 100], rtol=1e-6)
    assert signed_areas(np.zeros((0, 2)), np.array([0, 0])).tolist() == [0]
