"""Matchers and filters beside each other, on matches whose errors are known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

from benchmarks.keypoint_precision import Prepared
from benchmarks.matcher_ablation import build_matchers, matcher_ablation, table_rows
from custom_components.common.errors import InputError
from custom_components.matching import PointPairs

SHIFT = torch.tensor([4.0, -3.0])


class Known:
    """True matches at random places, some of them replaced by wrong ones."""

    def __init__(self, seed: int, count: int, wrong: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.fixed = 20 + 160 * torch.rand(count, 2, generator=generator)
        self.moving = self.fixed + SHIFT
        self.moving[:wrong] += 30 * torch.randn(wrong, 2, generator=generator)

    def __call__(self, moving: Tensor, fixed: Tensor) -> PointPairs:
        return PointPairs(self.moving, self.fixed, torch.ones(len(self.fixed)))


def test_union_and_filters_are_told_apart() -> None:
    generator = np.random.default_rng(0)
    marks = np.vstack([[[35, 35], [35, 165], [165, 35], [165, 165]], generator.uniform(40, 160, (20, 2))])
    image = torch.zeros(1, 1, 200, 200)
    given = Prepared(image, image, marks + SHIFT.numpy(), marks, np.ones((200, 200), dtype=bool))
    table = pd.DataFrame(table_rows(given, {"a": Known(0, 200, 60), "b": Known(1, 150, 0)})).set_index(
        ["matcher", "filter"]
    )
    filters = ("none", "isolation forest", "neighbourhood", "both")
    assert table.index.tolist() == [("a", "both"), ("b", "both"), *(("union", name) for name in filters)]
    assert table.loc[("union", "none"), "right"] == pytest.approx(290 / 350, abs=0.03)
    assert table.loc[("union", "both"), "right"] > 0.99
    assert table.loc[("union", "both"), "matches"] > table.loc[("a", "both"), "matches"]
    none, both = (table.loc[("union", name), "mean_linear"] for name in ("none", "both"))
    assert both < 1e-3 < none
    assert table.loc[("b", "both"), "mean_spline"] < 1e-3


def test_without_matches_the_landmarks_stay() -> None:
    marks = np.random.default_rng(0).uniform(30, 170, (20, 2))
    image = torch.zeros(1, 1, 200, 200)
    given = Prepared(image, image, marks + SHIFT.numpy(), marks, np.ones((200, 200), dtype=bool))
    row = table_rows(given, {"few": Known(0, 5, 0)})[0]
    assert row["mean_spline"] == pytest.approx(5 / np.hypot(200, 200))
    assert row["matches"] == 5


def test_the_table_from_files_and_its_resuming(shifted_table: Path) -> None:
    folder = shifted_table.parent
    config = folder / "matchers.yaml"
    config.write_text(
        "count: 900\nmatchers:\n"
        "  sift: {_target_: custom_components.matching.SIFTMatcher, max_keypoints: '@count'}\n"
        "  fewer: {_target_: custom_components.matching.SIFTMatcher, max_keypoints: 300}\n"
    )
    arguments = {"pairs": str(shifted_table), "to": str(folder / "out"), "config": str(config)}
    text = matcher_ablation(**arguments)
    assert [line.split(" | ")[0] for line in text.splitlines()[2:]] == ["| sift", "| fewer", *["| union"] * 4]
    table = pd.read_csv(folder / "out" / "matcher_ablation.csv")
    assert table.groupby("matcher")["mean_spline"].last().max() < 0.003
    files = list((folder / "out" / "matches").glob("*/*.npz"))
    assert len(files) == 2
    before = [file.stat().st_mtime_ns for file in files]
    matcher_ablation(**arguments)
    again = pd.read_csv(folder / "out" / "matcher_ablation.csv")
    assert [file.stat().st_mtime_ns for file in files] == before
    pd.testing.assert_frame_equal(table.drop(columns="seconds"), again.drop(columns="seconds"))
    assert "fewer" not in matcher_ablation(**arguments, names="sift")


def test_matchers_that_are_not_there_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        build_matchers(str(tmp_path / "none.yaml"), None, {})
    (tmp_path / "some.yaml").write_text("matchers: {a: {_target_: custom_components.matching.SIFTMatcher}}")
    with pytest.raises(InputError, match="has the matchers a, not 'b'"):
        build_matchers(str(tmp_path / "some.yaml"), "a b", {})
