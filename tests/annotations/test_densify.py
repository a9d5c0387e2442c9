from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from custom_components.annotations import Followed, densify

SQUARE = np.array([[0.0, 0], [400, 0], [400, 300], [0, 300], [0, 0]])
TOLERANCE = 0.1


def _wave(points: np.ndarray) -> np.ndarray:
    """A bend of 15 pixels every 250 and of 3 every 60."""
    x, y = points[:, 0], points[:, 1]
    return np.stack([x + 15 * np.sin(y / 40) + 3 * np.sin(x / 10), y + 10 * np.cos(x / 50)], axis=1)


def _follow(points: np.ndarray, function: Callable[[np.ndarray], np.ndarray], step: float = 8.0) -> Followed:
    return densify(points, np.array([0, len(points)]), np.array([True]), function, step, TOLERANCE)


def _to_polyline(points: np.ndarray, line: np.ndarray) -> np.ndarray:
    """(n,) distance of points to the nearest side of a polyline, by brute force."""
    start, side = line[:-1], np.diff(line, axis=0)
    offset = points[:, None] - start
    length = np.maximum((side**2).sum(axis=1), 1e-12)
    fraction = np.clip((offset * side).sum(axis=2) / length, 0, 1)
    return np.linalg.norm(offset - fraction[..., None] * side, axis=2).min(axis=1)


def _dense(points: np.ndarray, number: int = 400) -> np.ndarray:
    """Many points on every side."""
    fraction = np.linspace(0, 1, number, endpoint=False)[:, None]
    return np.concatenate([a + (b - a) * fraction for a, b in pairwise(points)])


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=25, deadline=None)
def test_an_affine_map_gets_no_points(seed: int) -> None:
    rng = np.random.default_rng(seed)
    matrix, offset = rng.normal(size=(2, 2)) * 3, rng.normal(size=2) * 1e4
    points = rng.uniform(-1e4, 1e5, (12, 2))
    found = _follow(points, lambda p: p @ matrix + offset)
    np.testing.assert_array_equal(found.points, points @ matrix + offset)
    assert found.origin.tolist() == list(range(12))


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=10, deadline=None)
def test_sides_stay_within_the_tolerance_of_the_curve_and_keep_what_was_given(seed: int) -> None:
    points = np.random.default_rng(seed).uniform(0, 600, (6, 2))
    found = _follow(points, _wave)
    assert _to_polyline(_wave(_dense(points)), found.points).max() <= TOLERANCE
    given_ones = found.origin == found.origin.round()
    np.testing.assert_array_equal(found.points[given_ones], _wave(points))
    assert (np.diff(found.origin) > 0).all()


def test_each_point_lies_where_its_origin_says() -> None:
    found = _follow(SQUARE, _wave)
    first = np.minimum(found.origin.astype(int), len(SQUARE) - 2)
    fraction = (found.origin - first)[:, None]
    on_side = SQUARE[first] * (1 - fraction) + SQUARE[first + 1] * fraction
    np.testing.assert_allclose(found.points, _wave(on_side), atol=1e-9)


def test_no_more_points_are_added_than_a_fixed_step_of_the_same_precision_needs() -> None:
    found = _follow(SQUARE, _wave)
    parts = 1
    while _to_polyline(_wave(_dense(SQUARE, 200)), _wave(_dense(SQUARE, parts))).max() > TOLERANCE:
        parts *= 2
    assert len(SQUARE) < len(found.points) < 4 * parts


def test_a_bend_that_the_middle_does_not_show_is_seen() -> None:
    """A whole wave on one side has its node in the middle."""
    line = np.array([[0.0, 0], [500, 0]])

    def bent(points: np.ndarray) -> np.ndarray:
        return points + np.stack([0 * points[:, 0], 20 * np.sin(points[:, 0] * 2 * np.pi / 500)], axis=1)

    assert len(_follow(line, bent).points) > 10
    assert _to_polyline(bent(_dense(line)), _follow(line, bent).points).max() <= TOLERANCE


def test_chains_are_followed_as_if_each_were_alone_by_a_few_calls_of_the_map() -> None:
    rng = np.random.default_rng(0)
    sizes = [5, 0, 1, 7, 2]
    chains = [rng.uniform(0, 500, (size, 2)) for size in sizes]
    joined = np.array([True, True, True, False, True])
    calls = []

    def counted(points: np.ndarray) -> np.ndarray:
        calls.append(len(points))
        return _wave(points)

    starts = np.concatenate([[0], np.cumsum(sizes)])
    found = densify(np.concatenate(chains), starts, joined, counted, 8.0, TOLERANCE)
    assert len(calls) < 12
    for number, chain in enumerate(chains):
        own = slice(found.starts[number], found.starts[number + 1])
        alone = _follow(chain, _wave).points if joined[number] else _wave(chain)
        np.testing.assert_allclose(found.points[own], alone, atol=1e-9)
        np.testing.assert_array_equal(found.origin[own].astype(int) >= starts[number], True)


def test_rings_stay_closed() -> None:
    found = _follow(SQUARE, _wave)
    assert (found.points[0] == found.points[-1]).all()


def test_positions_far_outside_do_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(import_module("custom_components.annotations.densify"), "MAX_SAMPLES", 1000)
    sizes = []

    def flat(points: np.ndarray) -> np.ndarray:
        sizes.append(len(points))
        return points

    found = _follow(np.array([[0.0, 0], [1e12, 1e12], [0, 0]]), flat)
    assert len(found.points) == 3
    assert max(sizes) <= 1002


def test_nothing_stays_nothing() -> None:
    found = densify(np.zeros((0, 2)), np.array([0]), np.zeros(0, bool), _wave, 8.0, TOLERANCE)
    assert (found.points.shape, found.starts.tolist()) == ((0, 2), [0])
