"""Holm, effect sizes, and the table itself."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from custom_components.experiments import holm, markdown, significance


def test_holm() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.9, 0.5]) == [1.0, 1.0]


OTHERS = {"folding": 0.0, "deviation": 0.1, "seconds": 1.0}


def rows(**scores: list[float]) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {"method": m, "seed": 0, "pair": str(i), "dice": v, "dice_1": v, **OTHERS}
            for m, values in scores.items()
            for i, v in enumerate(values)
        ]
    )


def test_the_effect_size_is_the_difference_in_pooled_deviations() -> None:
    values = np.linspace(0.5, 0.7, 9)
    table = significance(rows(a=list(values), b=list(values + 0.1)))
    assert table["difference"][0] == pytest.approx(-0.1)
    assert table["d"][0] == pytest.approx(-0.1 / values.std(ddof=1))
    assert table["p"][0] == pytest.approx(2 / 2**9)  # the smallest that nine pairs can give
    assert significance(rows(a=[0.5, 0.6], b=[0.5, 0.6]))["p"][0] == 1
    assert "| b | 1 | 0.7000 | 0.7000 | 0.000 | 0.100 | 1.0 |" in markdown(rows(a=list(values), b=list(values + 0.1)))
