"""A whole study: similarities, noise, every figure."""

from __future__ import annotations

from pathlib import Path

import matplotlib.image
import numpy as np
import pandas as pd
import pytest
import torch
from monai.bundle import run

from benchmarks.similarities import similarities
from custom_components.common.errors import InputError
from custom_components.experiments import StudyFigures, noise_study
from custom_components.experiments.figures import score_boxes
from custom_components.networks import StridedUNet

ROOT = Path(__file__).resolve().parents[2]
OPTIONS = "max_epochs=1 batch_size=1 device=cpu"


@pytest.mark.slow
def test_every_figure_of_a_study(labelled_table, monkeypatch) -> None:
    monkeypatch.chdir(ROOT)
    folder = labelled_table.parent / "study"
    extractor = labelled_table.parent / "ae.pt"
    torch.manual_seed(0)
    torch.save(StridedUNet(2, 1, 1, (4, 8), skip_connections=False).state_dict(), extractor)
    methods = f"mse:0.02 deepsim-ae:0.5={extractor} deepsim-ae@1:0.5={extractor}"
    similarities(pairs=str(labelled_table), to=str(folder), methods=methods, options=OPTIONS)
    rows = noise_study(str(folder), str(labelled_table), OPTIONS, noise=[0.3], blur=[2], methods=["mse"])
    assert len(rows) == 2 * 2
    assert rows["dice"].between(0, 1).all()
    overrides = {"methods": ["mse"], "noise": [0.3], "blur": [2]}
    run(
        config_file="bundles/semantic_similarity/configs/noise.yaml",
        study=str(folder),
        pairs=str(labelled_table),
        **overrides,
    )
    assert pd.read_csv(folder / "noise.csv")["dice"].tolist() == pytest.approx(rows["dice"].tolist())
    tune = {"values": [0.1, 1], "method": "mse", "options": OPTIONS, "slurm": False}
    where = {"pairs": str(labelled_table), "output_dir": str(folder / "tune")}
    run(config_file="bundles/semantic_similarity/configs/tune.yaml", **tune, **where)
    run(
        config_file="bundles/semantic_similarity/configs/plot.yaml", study=str(folder), pairs=str(labelled_table),
        tuning=str(folder / "tune"), extractors=f"{{ae: {extractor}}}", classes={1: "dark", 2: "bright"}, sample="02",
    )  # fmt: skip
    names = {path.stem for path in (folder / "figures").glob("*.png")}
    assert names == {
        "scores", "smoothness_against_dice", "levels", "convergence", "smoothness", "noise", "samples", "features_ae",
    }  # fmt: skip
    for file in (folder / "figures").glob("*.png"):
        picture = matplotlib.image.imread(file)
        assert picture.shape[0] > 100
        assert picture.std() > 0.02, file.name  # something is drawn


def test_what_is_missing_is_said(labelled_table, tmp_path) -> None:
    with pytest.raises(InputError, match="with --to"):
        StudyFigures(str(tmp_path / "none"), str(labelled_table), str(tmp_path / "figures")).run()
    with pytest.raises(InputError, match="no METHOD_SEED"):
        noise_study(str(tmp_path), str(labelled_table), noise=[0.1])
    figures = StudyFigures(str(tmp_path), str(labelled_table), str(tmp_path), sample="x")
    with pytest.raises(InputError, match="no pair 'x' of status evaluation"):
        figures._pair()


def test_the_boxes_hold_every_value() -> None:
    rows = pd.DataFrame(
        {"method": ["a"] * 5 + ["b"] * 5, "dice": np.linspace(0, 1, 10), "dice_3": 0.5, "dice_1": np.linspace(1, 0, 10)}
    )
    figure = score_boxes(rows, {3: "cortex"})
    axes = figure.axes
    assert [axis.get_title() for axis in axes] == ["mean of classes", "class 1", "cortex"]
    assert [tick.get_text() for tick in axes[0].get_yticklabels()] == ["a", "b"]
    shown = [float(value) for line in axes[0].lines for value in np.ravel(line.get_xdata())]
    assert {0.0, 1.0, float(rows["dice"][:5].median()), float(rows["dice"][5:].median())} <= set(shown)
