"""What the benchmarks' tests share."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from skimage import data, io


@pytest.fixture
def shifted_table(tmp_path: Path) -> Path:
    """Table of one pair "p0", status "training": a section and the same three rows lower, with landmarks of both."""
    image = data.immunohistochemistry()
    points = np.array([[20.0, 20.0], [20.0, 150.0], [150.0, 20.0], [150.0, 150.0], [90.0, 80.0]])
    for name, top in (("moving", 40), ("fixed", 43)):
        section = np.full((192, 192, 3), 240, dtype=np.uint8)
        section[12:180, 12:180] = image[top : top + 168, 60:228]
        io.imsave(tmp_path / f"{name}.png", section, check_contrast=False)
    for name, marks in (("moving", points + np.array([3.0, 0.0])), ("fixed", points)):
        pd.DataFrame(marks[:, ::-1], columns=["X", "Y"]).to_csv(tmp_path / f"{name}.csv")
    columns = ["id", "moving", "fixed", "moving_landmarks", "fixed_landmarks", "status"]
    row = ["p0", "moving.png", "fixed.png", "moving.csv", "fixed.csv", "training"]
    pd.DataFrame([row], columns=columns).to_csv(tmp_path / "pairs.csv", index=False)
    return tmp_path / "pairs.csv"
