"""The table of similarities: a whole run on tiny images."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from benchmarks.similarities import similarities
from custom_components.common.errors import InputError


@pytest.mark.slow
def test_the_whole_table_and_its_resuming(labelled_table, monkeypatch) -> None:
    root = Path(__file__).resolve().parents[2]
    monkeypatch.chdir(root)
    to = labelled_table.parent / "out"
    options = "max_epochs=1 classes=3 batch_size=1 device=cpu"
    arguments = {
        "pairs": str(labelled_table),
        "to": str(to),
        "methods": "mse:0.02 ncc+sup:0.5",
        "seeds": 2,
        "options": options,
    }
    text = similarities(**arguments)
    assert [line.split(" | ")[0] for line in text.splitlines()[2:5]] == ["| none", "| mse", "| ncc+sup"]
    assert len(pd.read_csv(to / "similarities.csv")) == 2 + 2 * 2 * 2
    model = to / "mse_1" / "models" / "model.pt"
    before = model.stat().st_mtime_ns
    assert similarities(**arguments) == text
    assert model.stat().st_mtime_ns == before
    with pytest.raises(InputError, match="has the key 'epochs'"):
        similarities(**{**arguments, "options": "epochs=3"})
    # what another environment has registered needs no ANTs here
    (to / "mse_0").rename(to / "syn_0")
    assert "| syn | 1 |" in similarities(**{**arguments, "methods": "syn"})
