"""The table of a series' ways and references."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.series import markdown, series
from custom_components.common.errors import InputError
from custom_components.metrics.tre import PairTRE, aggregate
from custom_components.pairs import write_image


def record(mean, failed=0, pairs=3):
    scored = vars(aggregate([PairTRE(mean, mean / 2, mean, 0.5, 0.5, 1.0, 4)]))
    return {"scored": scored, "failed": failed, "pairs": [None] * pairs}


def test_each_reference_is_a_row_and_their_mean_the_last():
    records = {
        ("a", "both"): record(0.01), ("b", "both"): record(0.03, failed=1),
        ("a", "neighbours"): record(0.02, pairs=2), ("b", "neighbours"): record(0.02, pairs=4),
    }  # fmt: skip
    assert markdown(records, ["a", "b"], ["neighbours", "both"], "b").splitlines() == [
        "| reference | initial | neighbours | both |",
        "| --- | --- | --- | --- |",
        "| a | 0.50000 | 0.02000 / 0.01000 | 0.01000 / 0.00500 |",
        "| b, chosen | 0.50000 | 0.02000 / 0.01000 | 0.03000 / 0.01500 (1 lost) |",
        "| mean |  | 0.02000 / 0.01000 | 0.02000 / 0.01000 (1 lost) |",
        "| pairs registered |  | 3.0 | 3.0 |",
    ]


def test_sections_without_landmarks_are_told(tmp_path):
    for name in "ab":
        write_image(tmp_path / f"{name}.png", np.zeros((1, 40, 40), np.uint8))
    (tmp_path / "sections.csv").write_text("image\na.png\nb.png\n")
    with pytest.raises(InputError, match="a has no landmarks"):
        series(str(tmp_path / "sections.csv"), str(tmp_path / "out"))
