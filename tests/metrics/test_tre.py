"""The challenge's landmark error: against a loop in plain Python, and against a scorer of one's own choice."""

from __future__ import annotations

import importlib.util
import json
import math
import os
import statistics
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from custom_components.common.errors import InputError
from custom_components.metrics import Aggregate, PairTRE, aggregate, pair_metrics, rtre, tre

Case = tuple[np.ndarray, np.ndarray, np.ndarray, tuple[int, int]]


def make_cases(seed: int, pairs: int) -> list[Case]:
    """(moving, warped, fixed, (width, height)) of pairs; some have more fixed landmarks, some fewer."""
    rng = np.random.default_rng(seed)
    cases = []
    for _ in range(pairs):
        size = tuple(int(v) for v in rng.integers(40, 90, 2))
        count, extra = int(rng.integers(1, 9)), int(rng.integers(0, 3))
        fixed = rng.uniform(0, 80, (count + extra, 2))
        moving = fixed[: max(1, len(fixed) - int(rng.integers(0, 3)))]
        moving = moving + rng.normal(scale=6, size=moving.shape)
        warped = moving + rng.normal(scale=4, size=moving.shape)
        warped[0] = moving[0]  # one that did not move: not closer
        cases.append((moving, warped, fixed, size))
    return cases


def brute_force(cases: list[Case]) -> dict[str, float]:
    """All aggregates by loops, without numpy's statistics."""
    means, medians, maxima, initial, robust = [], [], [], [], []
    for moving, warped, fixed, (width, height) in cases:
        diagonal = math.sqrt(width**2 + height**2)
        rows = range(min(len(moving), len(fixed)))
        before, after = (
            [math.hypot(p[i][0] - fixed[i][0], p[i][1] - fixed[i][1]) / diagonal for i in rows]
            for p in (moving, warped)
        )
        means.append(sum(after) / len(after))
        medians.append(statistics.median(after))
        maxima.append(max(after))
        initial.append(sum(before) / len(before))
        robust.append(sum(a < b for a, b in zip(after, before, strict=True)) / len(after))
    return {
        "pairs": len(cases),
        "initial_AArTRE": statistics.fmean(initial),
        "AArTRE": statistics.fmean(means),
        "AMrTRE": statistics.fmean(medians),
        "MArTRE": statistics.median(means),
        "MMrTRE": statistics.median(medians),
        "AMxrTRE": statistics.fmean(maxima),
        "MMxrTRE": statistics.median(maxima),
        "robustness": statistics.fmean(robust),
    }


def scored(cases: list[Case]) -> tuple[list[PairTRE], Aggregate]:
    pairs = [pair_metrics(m, w, f, math.hypot(*size)) for m, w, f, size in cases]
    return pairs, aggregate(pairs)


@given(seed=st.integers(0, 10_000), pairs=st.integers(1, 6))
@settings(max_examples=25, deadline=None, derandomize=True)
def test_all_aggregates_equal_brute_force(seed: int, pairs: int) -> None:
    cases = make_cases(seed, pairs)
    found = scored(cases)[1]
    for name, wanted in brute_force(cases).items():
        assert getattr(found, name) == pytest.approx(wanted, abs=1e-9), name


@pytest.fixture
def scorer() -> ModuleType:
    """The script that WARPZOO_SCORER names, with its figures not rounded to five digits."""
    named = os.environ.get("WARPZOO_SCORER")
    if not named:
        pytest.skip("no other scorer to compare with: set WARPZOO_SCORER to a script called as SCRIPT PAIRS OUTPUTS")
    spec = importlib.util.spec_from_file_location("scorer", named)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.round = lambda value, digits: value  # type: ignore[attr-defined]
    return module


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_all_figures_equal_those_of_another_scorer(
    seed: int, scorer: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write(path: Path, points: np.ndarray) -> None:
        pd.DataFrame({"X": points[:, 1], "Y": points[:, 0]}, index=range(1, len(points) + 1)).to_csv(path)

    cases = make_cases(seed, 7)
    rows = []
    for number, (moving, warped, fixed, size) in enumerate(cases):
        name = f"p{number}"
        (tmp_path / "out" / name).mkdir(parents=True)
        Image.new("L", size).save(tmp_path / f"{name}.png")
        write(tmp_path / f"{name}_1.csv", moving)
        write(tmp_path / f"{name}_2.csv", fixed)
        write(tmp_path / "out" / name / "warped_landmarks.csv", warped)
        rows.append((name, f"{name}.png", f"{name}.png", f"{name}_1.csv", f"{name}_2.csv"))
    columns = ["id", "moving", "fixed", "moving_landmarks", "fixed_landmarks"]
    pd.DataFrame(rows, columns=columns).to_csv(tmp_path / "pairs.csv", index=False)
    result = tmp_path / "scores.json"
    arguments = ["scorer", str(tmp_path / "pairs.csv"), str(tmp_path / "out"), "--json", str(result)]
    monkeypatch.setattr("sys.argv", arguments)
    scorer.main()

    wanted = json.loads(result.read_text())
    pairs, total = scored(cases)
    compared = {name for name in Aggregate.__dataclass_fields__ if name in wanted}
    assert compared >= {"AArTRE", "AMrTRE", "MArTRE", "MMrTRE", "AMxrTRE", "robustness", "initial_AArTRE", "pairs"}
    for name in compared:
        assert getattr(total, name) == pytest.approx(wanted[name], abs=1e-9), name
    names = {"mean": "mean", "median": "median", "max": "max", "initial_mean": "before", "robustness": "robust"}
    for pair, row in zip(pairs, wanted["per_pair"], strict=True):
        for ours, theirs in names.items():
            assert getattr(pair, ours) == pytest.approx(row[theirs], abs=1e-9), ours


def test_closed_form_in_the_plane_and_in_space() -> None:
    np.testing.assert_allclose(tre(np.array([[3.0, 4.0], [1, 1]]), np.array([[0.0, 0.0], [1, 1]])), [5, 0])
    np.testing.assert_allclose(tre(np.array([[1.0, 2.0, 2.0]]), np.zeros((1, 3))), [3])
    np.testing.assert_allclose(rtre(np.array([[3.0, 4.0]]), np.zeros((1, 2)), 50.0), [0.1])


def test_integers_do_not_wrap_round() -> None:
    found = tre(np.array([[0, 0]], np.uint8), np.array([[200, 0]], np.uint8))
    assert found.dtype == np.float64
    assert found.tolist() == [200]


def test_an_even_number_of_landmarks_has_the_mean_of_the_middle_two() -> None:
    fixed = np.zeros((4, 2))
    warped = np.array([[1.0, 0], [2, 0], [4, 0], [9, 0]])
    pair = pair_metrics(fixed + 5, warped, fixed, 10.0)
    assert (pair.mean, pair.median, pair.max, pair.count) == pytest.approx((0.4, 0.3, 0.9, 4))
    assert pair.initial_mean == pair.initial_median == pytest.approx(math.sqrt(50) / 10)
    assert pair.robustness == 0.75  # 9 is further than 5 * sqrt(2)


def test_landmarks_that_stay_are_not_robust_and_a_perfect_pair_is() -> None:
    moving, fixed = np.array([[1.0, 2], [3, 4]]), np.array([[2.0, 2], [3, 9]])
    assert pair_metrics(moving, moving, fixed, 7.0).robustness == 0
    perfect = pair_metrics(moving, fixed, fixed, 7.0)
    assert (perfect.mean, perfect.max, perfect.robustness) == (0, 0, 1)


def test_no_landmarks_have_no_distance() -> None:
    assert tre(np.zeros((0, 2)), np.zeros((0, 2))).shape == (0,)


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        (((4, 2), (3, 2), (4, 2)), "4 moving landmarks, but 3 warped ones"),
        (((0, 2), (0, 2), (4, 2)), "no landmarks to compare"),
        (((4, 2), (4, 2), (0, 2)), "no landmarks to compare"),
        (((4, 2), (4, 3), (4, 2)), r"differ in shape: warped \(4, 3\), fixed \(4, 2\)"),
    ],
)
def test_lists_that_do_not_match_are_refused(shapes, message: str) -> None:
    with pytest.raises(InputError, match=message):
        pair_metrics(*(np.ones(shape) for shape in shapes), 10.0)


@pytest.mark.parametrize("diagonal", [0.0, -1.0, math.nan])
def test_a_diagonal_that_is_not_positive_is_refused(diagonal: float) -> None:
    with pytest.raises(InputError, match=f"must be positive, got {diagonal}"):
        rtre(np.ones((2, 2)), np.ones((2, 2)), diagonal)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_values_that_are_not_finite_are_counted(value: float) -> None:
    broken = np.array([[1.0, value], [1, 1], [value, value]])
    with pytest.raises(InputError, match="2 of 3 warped landmarks are not finite"):
        tre(broken, np.ones((3, 2)))
    with pytest.raises(InputError, match="2 of 3 fixed landmarks are not finite"):
        tre(np.ones((3, 2)), broken)


def test_no_pairs_are_refused() -> None:
    with pytest.raises(InputError, match="no pairs to aggregate"):
        aggregate([])
