"""The recommended method without one of its parts."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.ablation import VARIANTS, ablation, table_row
from custom_components.common.errors import InputError
from custom_components.metrics.tre import PairTRE, pair_metrics
from custom_components.results.record import read_metrics


def errors(*means: float) -> list[PairTRE]:
    start = np.array([[0.0, 0.0], [0.0, 50.0]])
    return [pair_metrics(start, start, start + np.array([mean, 0.0]), 1.0) for mean in means]


def test_a_part_is_worth_what_is_lost_without_it() -> None:
    row = table_row("less", errors(3, 5, 1), errors(1, 2, 2), ["a", "b", "c"])
    assert row["AArTRE"] == pytest.approx(3)
    assert row["difference"] == pytest.approx(4 / 3)
    assert (row["whole wins"], row["whole loses"]) == (2, 1)


def test_an_unknown_part_is_named(tmp_path) -> None:
    with pytest.raises(InputError, match="no magic"):
        ablation("pairs.csv", str(tmp_path), names="no magic")


@pytest.mark.slow
def test_every_variant_runs(shifted_table, tmp_path) -> None:
    text = ablation(str(shifted_table), str(tmp_path / "out"), quality="fast", networks=True)
    assert text.startswith("1 pairs of 1 cases")
    for name in VARIANTS:
        assert f"| {name} |" in text
        assert read_metrics(tmp_path / "out" / name.replace(" ", "_") / "p0")["status"] in ("ok", "poor")
    steps = {
        name: set(read_metrics(tmp_path / "out" / name / "p0")["stages"])
        for name in ("all", "no_pieces", "no_matches_after_the_affine")
    }
    assert steps["no_matches_after_the_affine"] < steps["all"]
    assert steps["no_pieces"] <= steps["all"]
