"""The benchmark of the outlier filters on small sets of matches."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

from benchmarks.large_displacement import unit_field
from benchmarks.outliers import KINDS, NEAR, Row, contaminated, field_error, filters_of, markdown, measure, outliers
from custom_components.common.errors import InputError
from custom_components.fields import sample_at
from custom_components.inferers import Estimate, HybridMatching, PairImages
from custom_components.matching import PointPairs
from custom_components.matching.outliers import merge_duplicates

SIDE = 256
DIAGONAL = SIDE * np.sqrt(2)


@pytest.fixture(scope="module")
def truth() -> Tensor:
    return (6 * unit_field((SIDE, SIDE), 6, (0,))).float()


@pytest.fixture(scope="module")
def rows() -> dict[tuple[float, str, str], Row]:
    return {(row.fraction, row.kind, row.filter): row for row in measure(SIDE, 400, 2.5, [0, 30], 0)}


@pytest.mark.parametrize("kind", KINDS)
def test_wrong_matches_are_as_many_and_as_far_away_as_said(kind: str, truth: Tensor) -> None:
    pairs, true = contaminated(truth, 300, 0.4, kind, (1, 2))
    assert (len(pairs), int(true.sum())) == (500, 300)
    away = (pairs.moving - pairs.fixed - sample_at(truth.double(), pairs.fixed)).norm(dim=1)
    assert away[true].max() < 2.5
    assert away[true].square().mean().sqrt() == pytest.approx(0.5 * np.sqrt(2), rel=0.1)
    if kind == "near":
        assert away[~true].min() >= NEAR[0] * DIAGONAL
        assert away[~true].max() <= NEAR[1] * DIAGONAL
    else:
        assert away[~true].median() > 0.2 * SIDE
    assert 0 <= pairs.fixed.min() <= pairs.fixed.max() <= SIDE - 1
    assert torch.equal(pairs.moving, contaminated(truth, 300, 0.4, kind, (1, 2))[0].moving)


@pytest.mark.parametrize("kind", KINDS)
def test_filters_raise_the_precision_and_keep_the_true_matches(
    kind: str, rows: dict[tuple[float, str, str], Row]
) -> None:
    none, forest, near, both = (rows[30, kind, name] for name in ("none", "isolation forest", "neighbourhood", "both"))
    assert (none.precision, none.recall) == (pytest.approx(0.7, abs=0.002), 1)
    assert forest.precision > none.precision + 0.1
    assert min(near.precision, both.precision) > 0.99
    assert min(forest.recall, near.recall, both.recall) > 0.95
    assert both.linear_p95 < 0.1 * none.linear_p95
    assert both.spline_p95 < both.linear_p95 < 3


def test_without_wrong_matches_the_neighbourhood_drops_hardly_any_but_the_forest_the_extremes(
    rows: dict[tuple[float, str, str], Row],
) -> None:
    assert rows[0, "none", "none"].precision == 1
    assert rows[0, "none", "neighbourhood"].recall > 0.98
    assert rows[0, "none", "both"].recall <= rows[0, "none", "isolation forest"].recall < 0.9


def test_both_is_what_the_hybrid_method_does(truth: Tensor) -> None:
    pairs = merge_duplicates(contaminated(truth, 400, 0.3, "near", (3,))[0])

    def give(moving: Tensor, fixed: Tensor) -> PointPairs:
        return pairs

    step, blank = HybridMatching([give]), torch.ones(1, 1, SIDE, SIDE)
    estimate = step(PairImages(blank, blank, blank, blank), Estimate.identity((SIDE, SIDE)))
    kept = filters_of(step, float(DIAGONAL))["both"](pairs)
    assert 0 < int(kept.sum()) < len(pairs)
    assert torch.equal(estimate.matches.fixed, pairs.select(kept).fixed)


def test_error_of_a_field_leaves_out_the_rim(truth: Tensor) -> None:
    off = truth.clone()
    off[:, 0] += 2.0
    off[..., :10, :] += 100.0
    assert field_error(off, truth) == pytest.approx((2, 2), abs=1e-5)


def test_table_gives_mean_and_deviation_over_seeds() -> None:
    figures = {"precision": 0.9, "recall": 1.0, "spline_median": 1.0, "spline_p95": 2.0, "linear_median": 3.0}
    made = [{"fraction": 10.0, "kind": "near", "filter": "both", **figures, "linear_p95": p95} for p95 in (4.0, 6.0)]
    said = markdown(pd.DataFrame(made)).splitlines()
    cells = "| 0.900 +- 0.000 | 1.000 +- 0.000 | 1.00 +- 0.00 | 2.00 +- 0.00 | 3.00 +- 0.00 | 5.00 +- 1.41 |"
    assert said[2] == f"| 10 | near | both {cells}"
    assert markdown(pd.DataFrame(made[:1])).endswith("| 0.900 | 1.000 | 1.00 | 2.00 | 3.00 | 4.00 |")


def test_tables_are_written_where_asked(tmp_path: Path) -> None:
    said = outliers(matches=60, shares="20", side=64, seeds=2, to=str(tmp_path / "to"))
    assert (tmp_path / "to" / "outliers.md").read_text() == said + "\n"
    assert len(pd.read_csv(tmp_path / "to" / "outliers.csv")) == 2 * len(KINDS) * 4


@pytest.mark.parametrize("shares", ["", "10 many", "-1", "100"])
def test_shares_are_per_cent(shares: str) -> None:
    with pytest.raises(InputError, match="shares are numbers from 0 to below 100"):
        outliers(shares=shares)


def test_nothing_to_measure_is_refused() -> None:
    with pytest.raises(InputError, match="at least 1, got 0, 512 and 5"):
        outliers(matches=0)
