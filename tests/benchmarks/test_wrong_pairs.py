"""Unrelated pairs are unrelated, the draw is repeatable, and verdicts are counted as they are."""

from __future__ import annotations

import json

import pandas as pd

from benchmarks.wrong_pairs import KINDS, draw_pairs, verdicts

TABLE = pd.DataFrame(
    [
        {"id": f"{number:02d}", "tissue": tissue, "block": block, "moving": f"{tissue} {block} m",
         "fixed": f"{tissue} {block} f"}
        for number, (tissue, block) in enumerate([("lung", "1"), ("lung", "2"), ("kidney", "1"), ("kidney", "1")])
    ]
)  # fmt: skip


def test_the_kinds_are_what_they_say() -> None:
    drawn = draw_pairs(TABLE, 6, 2, ["heart.png"])
    assert list(drawn["kind"].value_counts().reindex(KINDS)) == [2, 2, 2, 2]
    for row in drawn.itertuples():
        own, other = row.fixed.split()[:2], row.moving.split()[:2]
        if row.kind == "other tissue":
            assert own[0] != other[0]
        elif row.kind == "other block":
            assert own[0] == other[0]
            assert own[1] != other[1]
        elif row.kind == "other modality":
            assert row.moving == "heart.png"
        else:
            assert own == other
    assert drawn.equals(draw_pairs(TABLE, 6, 2, ["heart.png"]))


def test_a_wrong_pair_that_is_ok_and_a_right_one_that_is_not_are_named(tmp_path) -> None:
    drawn = draw_pairs(TABLE, 2, 2, [])
    states = ["ok", "failed", "poor", "ok"]
    for name, status in zip(drawn["id"], states, strict=True):
        (tmp_path / name).mkdir()
        (tmp_path / name / "metrics.json").write_text(json.dumps({"status": status, "reason": "", "support": 0.5}))
    told = verdicts(drawn, tmp_path)
    assert "| other tissue | 1 | 1 | 0 | 0 |" in told
    assert "| other block | 1 | 0 | 0 | 1 |" in told
    assert "| right | 2 | 1 | 1 | 0 |" in told
    wrongly = told.split("Judged wrongly:")[1]
    assert drawn["id"][0] in wrongly
    assert drawn["id"][2] in wrongly
    assert drawn["id"][1] not in wrongly
