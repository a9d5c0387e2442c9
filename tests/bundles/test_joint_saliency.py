"""The joint_saliency bundle: trained on pairs and on bent images, 2-D and 3-D, its stages, baselines, MONAI's tools."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from monai.bundle import ckpt_export, run, verify_net_in_out
from monai.utils import set_determinism

from custom_components.common.weights import load_pretrained, read_state
from custom_components.fields import read_displacement
from custom_components.networks import joint_saliency_network
from custom_components.transforms import RandomItems

ROOT = Path(__file__).resolve().parents[2]
BUNDLE = "bundles/joint_saliency"
CONFIGS = f"{BUNDLE}/configs"
CPU: dict[str, Any] = {"device": "$torch.device('cpu')"}
NETWORK: dict[str, Any] = {"channels": [4, 8, 8], "local_channels": [8, 8]}
SPATIAL = [(48, 56), (32, 40, 40)]

flat = pytest.mark.parametrize("table", SPATIAL[:1], indirect=True, ids=["2-D"])
both = pytest.mark.parametrize("table", SPATIAL, indirect=True, ids=["2-D", "3-D"])


@pytest.fixture
def table(request: pytest.FixtureRequest, textured_table: Callable[[tuple[int, ...]], Path]) -> Iterator[Path]:
    """See ``textured_table``."""
    yield textured_table(request.param)
    set_determinism(None)  # what the configs switch on


def dimensions_of(table: Path) -> int:
    return 2 if table.with_name("image0.png").exists() else 3


def train(table: Path, configs: str | list[str] = f"{CONFIGS}/train.yaml", root: str = "mine", **more: Any) -> Path:
    """The folder of the models of a training of one epoch."""
    given = {"max_epochs": 1, "batch_size": 2, "spatial_dims": dimensions_of(table), **CPU, **NETWORK, **more}
    run(config_file=configs, pairs=str(table), bundle_root=str(table.parent / root), **given)
    return table.parent / root / "models"


def register(
    table: Path, configs: str | list[str] = f"{CONFIGS}/inference.yaml", weights: Path | None = None, **more: Any
) -> dict[str, Any]:
    """The metrics of the first pair."""
    out = table.parent / "out"
    if weights is not None:
        more = {**NETWORK, "weights": str(weights), **more}
    given = {"spatial_dims": dimensions_of(table), "report": False, **CPU, **more}
    run(config_file=configs, pairs=str(table), output_dir=str(out), **given)
    metrics: dict[str, Any] = json.loads((out / "01" / "metrics.json").read_text())
    assert metrics["status"] in ("ok", "poor")
    field = read_displacement(out / "01" / f"displacement{'.mha' if dimensions_of(table) == 2 else '.nii.gz'}")
    assert field.GetDimension() == dimensions_of(table)
    return metrics


def steps_of(models: Path) -> list[list[str]]:
    """Rows of the training curve, the names first."""
    return [row.split(",") for row in (models / "registration" / "curve.csv").read_text().splitlines()]


@pytest.mark.parametrize(
    ("records", "options"),
    [
        ("pairs", {"weighting": "overlap"}),
        ("images", {"epe_weight": 1.0, "looks": True, "defects": 1.0, "patch_size": 32, "num_workers": 1}),
        ("both", {"epe_weight": 0.5, "weighting": "mismatch", "gradient_weight": 1.0}),
    ],
)
@flat
def test_training_on_pairs_and_on_bent_images_then_inference_then_evaluation(table, records, options):
    models = train(table, records=records, **options)
    rows = steps_of(models)
    assert rows[0][:3] == ["epoch", "seconds", "loss"]
    assert 0 < float(rows[1][2]) < 100
    state = read_state(models / "model.pt", "model")
    joint_saliency_network(**NETWORK).load_state_dict(state)
    assert all(torch.isfinite(value).all() for value in state.values())
    metrics = register(table, weights=models / "model.pt", report=True)
    assert set(metrics["dice"]) == {"1", "2"}
    assert (table.parent / "out" / "01" / "report.html").exists()
    again = register(table, f"{CONFIGS}/evaluate.yaml", models / "model.pt")
    assert again["dice"] == metrics["dice"]


@pytest.mark.parametrize("table", SPATIAL[1:], indirect=True, ids=["3-D"])
def test_volumes(table):
    models = train(table, batch_size=1)
    assert float(steps_of(models)[1][2]) > 0
    metrics = register(table, f"{CONFIGS}/evaluate.yaml", models / "model.pt")
    assert set(metrics["dice"]) == {"1", "2"}


@pytest.mark.parametrize(
    "choice",
    [
        {"stages": "coarse"},
        {"stages": "local"},
        {"stages": "forward"},
        {"stages": "voxelmorph"},
        {"coarse": "regunet", "local": "localnet"},
        {"coarse": "globalnet", "side": [48, 56]},
        {"reference_implementation": True, "residual": False, "images": False, "similarity": "ncc"},
    ],
    ids=lambda choice: " ".join(map(str, choice.values())),
)
@flat
def test_other_networks_by_config(table, choice):
    models = train(table, **choice)
    choice = {key: value for key, value in choice.items() if key != "similarity"}
    joint_saliency_network(**NETWORK, **choice).load_state_dict(read_state(models / "model.pt", "model"))
    register(table, weights=models / "model.pt", **choice)


@both
def test_demons_in_place_of_the_network(table):
    options = {"iterations": [20, 10], "field_sigma": 1.0}
    metrics = register(table, [f"{CONFIGS}/evaluate.yaml", f"{CONFIGS}/demons.yaml"], **options)
    assert "demons" in metrics["stages"]
    assert np.mean(list(metrics["dice"].values())) > 0.95


@flat
def test_optical_flow_in_place_of_the_network(table):
    metrics = register(table, [f"{CONFIGS}/inference.yaml", f"{CONFIGS}/dis.yaml"])
    assert "optical flow" in metrics["stages"]
    assert np.mean(list(metrics["dice"].values())) > 0.95


@flat
def test_stained_sections(table):
    overlay, options = f"{CONFIGS}/sections.yaml", {"working_size": 64}
    models = train(
        table, [f"{CONFIGS}/train.yaml", overlay], records="images", patch_size=32, epe_weight=1.0, **options
    )
    register(table, [f"{CONFIGS}/inference.yaml", overlay], models / "model.pt", **options)


@flat
def test_the_field_of_patch_nonrigid_is_refined(table):
    small = {"working_size": 64, "local_channels": [8, 8]}
    configs = [f"{CONFIGS}/train.yaml", f"{CONFIGS}/train_refine.yaml"]
    models = train(table, configs, patch_size=32, **small)
    state = read_state(models / "model.pt", "model")
    assert all(name.startswith("local.") for name in state)  # the coarse field is given, not learned
    configs = [f"{CONFIGS}/inference.yaml", f"{CONFIGS}/refine.yaml"]
    metrics = register(table, configs, models / "model.pt", **small)
    assert list(metrics["stages"])[:2] == ["patch pyramid", "network"]


@flat
def test_a_training_stopped_in_an_epoch_and_run_again_ends_with_the_same_model(table, monkeypatch, capsys):
    options = {"max_epochs": 2, "records": "both", "epe_weight": 1.0, "seed": 3}
    whole = train(table, root="whole", **options)

    class Stop(Exception):
        pass

    def stopping(items: RandomItems, index: int) -> Any:
        if items.epoch == 2 and index == 2:  # the second step of the second epoch
            raise Stop
        return item(items, index)

    item = RandomItems.__getitem__
    with monkeypatch.context() as patch:
        patch.setattr(RandomItems, "__getitem__", stopping)
        with pytest.raises(Exception) as caught:  # noqa: PT011, the config parser wraps it
            train(table, **options)
    assert Stop in (caught.type, type(caught.value.__cause__))
    assert not (table.parent / "mine" / "models" / "model.pt").exists()
    capsys.readouterr()
    again = train(table, **options)
    assert "resuming after epoch 1 of 2" in capsys.readouterr().out
    states = [read_state(models / "model.pt", "model") for models in (whole, again)]
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert [row[0] for row in steps_of(again)] == ["epoch", "1", "2"]


@pytest.mark.slow
@flat
def test_two_processes_train_one_network(table, one_network):
    models = table.parent / "mine" / "models"
    one_network(
        "joint_saliency", "train.yaml", models / "model.pt", pairs=table, bundle_root=table.parent / "mine",
        batch_size=1, **NETWORK,
    )  # fmt: skip


@flat
def test_a_wrong_option_says_what_may_stand_there(table):
    for options, message in (
        ({"records": "files"}, "records is pairs, images or both, got 'files'"),
        ({"stages": "all"}, "stages is coarse, local, forward, backward, voxelmorph, got 'all'"),
        ({"weighting": "saliency"}, "weighting is none, mismatch, overlap, got 'saliency'"),
    ):
        with pytest.raises(RuntimeError) as caught:
            train(table, **options)
        assert message in str(caught.value.__cause__)


@pytest.mark.slow
def test_monais_tools_take_the_network_and_the_export_equals_it(tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    files = {"meta_file": f"{CONFIGS}/metadata.json", "config_file": f"{CONFIGS}/inference.yaml"}
    verify_net_in_out("network_def", **files)
    network, weights = joint_saliency_network(), ROOT / BUNDLE / "models" / "model.pt"
    if not weights.exists():
        weights = tmp_path / "model.pt"
        torch.save(network.state_dict(), weights)
    load_pretrained(network, weights)
    ckpt_export("network_def", str(tmp_path / "model.ts"), str(weights), **files)
    torchscript, image = load_pretrained(torch.nn.Identity(), None, tmp_path / "model.ts"), torch.rand(1, 2, 130, 150)
    with torch.no_grad():
        assert torch.allclose(torchscript(image), network.eval()(image), atol=1e-5)
