"""Pairs with little common tissue are found and judged apart."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from benchmarks.missing_tissue import missing_tissue
from custom_components.common.errors import InputError

WIDTHS = (60, 60, 60, 30)  # of the moving tissue, pixels; that of the fixed one is 60


@pytest.fixture
def cohort(tmp_path: Path) -> Path:
    """Four pairs, the last without half of its tissue; run "good" is right everywhere, "bad" 4 pixels off there."""
    grain = np.random.default_rng(0).integers(120, 200, (96, 96))
    points = np.random.default_rng(1).uniform(30, 60, (5, 2))
    rows = []
    for index, width in enumerate(WIDTHS):
        for side, columns in (("moving", width), ("fixed", 60)):
            image = np.zeros((96, 96), np.uint8)
            image[18:78, 18 : 18 + columns] = grain[18:78, 18 : 18 + columns]
            Image.fromarray(image).save(tmp_path / f"{side}{index}.png")
        for run, shift in (("good", 0), ("bad", 4 if width < 60 else 0)):
            folder = tmp_path / run / f"p{index}"
            folder.mkdir(parents=True)
            pd.DataFrame(points[:, ::-1] + [shift, 0], columns=["X", "Y"]).to_csv(folder / "warped_landmarks.csv")
        pd.DataFrame(points[:, ::-1], columns=["X", "Y"]).to_csv(tmp_path / f"{index}.csv")
        rows.append(f"p{index},moving{index}.png,fixed{index}.png,{index}.csv,{index}.csv")
    (tmp_path / "pairs.csv").write_text("\n".join(["id,moving,fixed,moving_landmarks,fixed_landmarks", *rows]))
    return tmp_path


def test_the_pair_that_lacks_tissue_is_judged_apart(cohort) -> None:
    text = missing_tissue(str(cohort / "pairs.csv"), f"good={cohort}/good bad={cohort}/bad", fraction=0.25)
    relative = 4 / np.hypot(96, 96)
    assert f"| all: AArTRE | 4 | 0.00000 | 0.00000 | {relative / 4:.5f} |" in text
    assert f"| least overlap: AArTRE | 1 | 0.00000 | 0.00000 | {relative:.5f} |" in text
    last = text.splitlines()[-1].split(" | ")
    assert last[0] == "| p3"
    assert 0.4 < float(last[1]) < 0.6


def test_an_absent_run_is_named(cohort) -> None:
    with pytest.raises(InputError, match=r"nowhere is there"):
        missing_tissue(str(cohort / "pairs.csv"), "ours=nowhere")
