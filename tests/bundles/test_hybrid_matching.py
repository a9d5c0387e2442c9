"""The hybrid_matching bundle: COTR is trained on tiny images, then matches beside XFeat."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from monai.bundle import run
from monai.utils import set_determinism

from custom_components.common.errors import InputError
from custom_components.matching.weights import resolve
from custom_components.pairs.demo import write_demo_pair

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = "bundles/hybrid_matching/configs"


@pytest.fixture(autouse=True)
def own_random_numbers():
    yield
    set_determinism(seed=None)


TINY_COTR = {
    "_target_": "custom_components.networks.COTR", "width": 16, "heads": 4, "layers": 1, "hidden": 16,
    "block": "basic", "blocks": [1, 1, 1], "channels": [8, 8, 8], "normalisation": ["group", {"num_groups": 4}],
}  # fmt: skip


def test_cotr_is_trained_resumed_fine_tuned_and_matches_beside_xfeat(tmp_path, textured_table, monkeypatch) -> None:
    try:
        resolve("xfeat")
    except InputError:
        pytest.skip("weights of XFeat are not installed")
    monkeypatch.chdir(ROOT)
    settings = {
        "pairs": str(textured_table((80, 90))), "bundle_root": str(tmp_path), "items": 4, "batch_size": 2,
        "side": 32, "points": 8, "scales": [1.0], "num_workers": 0, "device": "cpu", "network_def": TINY_COTR,
        "working_size": 90,
    }  # fmt: skip
    for epochs in (1, 2):  # the second run goes on after the first one's epoch
        run(config_file=f"{CONFIGS}/train_cotr.yaml", max_epochs=epochs, **settings)
    with (tmp_path / "models" / "cotr_training" / "curve.csv").open() as stream:
        assert [row["epoch"] for row in csv.DictReader(stream)] == ["1", "2"]
    tuning = {key: value for key, value in settings.items() if key != "scales"}
    run(
        config_file=[f"{CONFIGS}/train_cotr.yaml", f"{CONFIGS}/finetune_cotr.yaml"], max_epochs=1,
        init_weights=str(tmp_path / "models" / "cotr.pt"), **tuning,
    )  # fmt: skip
    assert (tmp_path / "models" / "cotr_tuned.pt").is_file()
    assert list((tmp_path / "models" / "cotr_tuning" / "matches").glob("*.npz"))
    pair = write_demo_pair(tmp_path / "pair")
    run(
        config_file=[f"{CONFIGS}/inference.yaml", f"{CONFIGS}/cotr.yaml"], moving=str(pair.moving),
        fixed=str(pair.fixed), id="demo", output_dir=str(tmp_path / "out"), report=False, device="cpu",
        cotr_network=TINY_COTR, cotr_side=32, cotr_weights=str(tmp_path / "models" / "cotr.pt"),
    )  # fmt: skip
    metrics = json.loads((tmp_path / "out" / "demo" / "metrics.json").read_text())
    assert metrics["status"] == "ok"
    assert '"matchers": 2' in json.dumps(metrics)


@pytest.mark.slow
def test_two_processes_train_one_cotr(tmp_path, textured_table, one_network) -> None:
    models = tmp_path / "models"
    one_network(
        "hybrid_matching", "train_cotr.yaml", models / "cotr.pt", pairs=textured_table((80, 90)), bundle_root=tmp_path,
        items=5, batch_size=1, side=32, points=8, scales=[1.0], num_workers=0, network_def=TINY_COTR, working_size=90,
    )  # fmt: skip
    with (models / "cotr_training" / "curve.csv").open() as stream:
        assert [row["epoch"] for row in csv.DictReader(stream)] == ["1", "2"]
