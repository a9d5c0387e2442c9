"""The semantic_similarity bundle: features, then a registration driven by them, in 2-D and 3-D, and MONAI's tools."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from monai.bundle import ckpt_export, run, verify_net_in_out
from monai.utils import set_determinism

from custom_components.common.weights import load_pretrained, read_state
from custom_components.datasets import brain_slabs
from custom_components.engines.extractors import load_extractor
from custom_components.experiments import registered, unregistered
from custom_components.fields import read_displacement
from custom_components.networks import registration_network
from custom_components.pairs import select_pairs

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = "bundles/semantic_similarity/configs"
CPU: dict[str, Any] = {"device": "$torch.device('cpu')"}
RELEASED = (("model", 2, (16, 32, 64)), ("membrane", 2, (16, 32, 64)), ("volume", 3, (8, 16, 32)))
SPATIAL = [(48, 56), (32, 40, 40)]


@pytest.fixture(params=SPATIAL, ids=["2-D", "3-D"])
def table(request: pytest.FixtureRequest, textured_table: Callable[[tuple[int, ...]], Path]) -> Iterator[Path]:
    """See ``textured_table``."""
    yield textured_table(request.param)
    set_determinism(None)  # what the configs switch on


def options(table: Path, **more: Any) -> dict[str, Any]:
    spatial_dims = 2 if table.with_name("image0.png").exists() else 3
    root = str(table.parent / "mine")
    return {"pairs": str(table), "spatial_dims": spatial_dims, "max_epochs": 1, "bundle_root": root, **CPU, **more}


@pytest.mark.parametrize("features", ["autoencoder", "segmentation"])
def test_features_then_registration_then_inference(table, features):
    classes = {"classes": 3} if features == "segmentation" else {}
    run(config_file=f"{CONFIGS}/train_{features}.yaml", items=2, patch_size=16, **options(table, **classes))
    models = table.parent / "mine" / "models"
    extractor = load_extractor(models / f"{features}.pt")
    assert [len(weight) for weight in extractor.parameters() if weight.ndim > 3 and weight.shape[2] == 4] == [
        32,
        64,
        128,
    ]
    before = {name: value.clone() for name, value in extractor.state_dict().items()}
    run(
        config_file=f"{CONFIGS}/train.yaml", extractor=str(models / f"{features}.pt"), batch_size=1, supervision=0.5,
        classes=3, **options(table),
    )  # fmt: skip
    again = load_extractor(models / f"{features}.pt").state_dict()
    assert all(torch.equal(before[name], value) for name, value in again.items())
    curve = (models / "registration" / "curve.csv").read_text()
    assert curve.startswith("epoch,seconds,loss")
    out = table.parent / "out"
    chosen = {key: value for key, value in options(table).items() if key not in ("max_epochs", "bundle_root")}
    run(config_file=f"{CONFIGS}/inference.yaml", weights=str(models / "model.pt"), output_dir=str(out), **chosen)
    metrics = json.loads((out / "01" / "metrics.json").read_text())
    assert metrics["status"] in ("ok", "poor")
    assert set(metrics["dice"]) == {"1", "2"}
    assert (out / "01" / "report.html").exists()
    field = read_displacement(out / "01" / f"displacement{'.mha' if chosen['spatial_dims'] == 2 else '.nii.gz'}")
    assert field.GetDimension() == chosen["spatial_dims"]


@pytest.mark.parametrize("name", ["mse", "ncc", "nmi", "mind"])
def test_every_named_similarity_trains(table, name):
    run(config_file=f"{CONFIGS}/train.yaml", similarity=name, batch_size=1, diffeomorphic=True, **options(table))
    state = read_state(table.parent / "mine" / "models" / "model.pt", "model")
    dimensions = options(table)["spatial_dims"]
    network = registration_network("unet", dimensions, (16, 32, 64), diffeomorphic=True)
    network.load_state_dict(state)
    assert all(torch.isfinite(value).all() for value in state.values())


@pytest.mark.parametrize("features", ["autoencoder", "segmentation"])
def test_features_are_evaluated_on_images_of_their_own(table, features):
    given = options(table, channels=[4, 4], **({"classes": 3} if features == "segmentation" else {}))
    run(config_file=f"{CONFIGS}/train_{features}.yaml", items=2, patch_size=16, **given)
    model, out = table.parent / "mine" / "models" / f"{features}.pt", table.parent / "features"
    given = {key: value for key, value in given.items() if key not in ("max_epochs", "bundle_root")}
    run(config_file=f"{CONFIGS}/evaluate_{features}.yaml", weights=str(model), output_dir=str(out), **given)
    name = "mse" if features == "autoencoder" else "dice"
    value = float((out / "metrics.csv").read_text().split(",")[1])
    assert 0 < value < 1
    rows = (out / f"{name}_raw.csv").read_text().splitlines()
    assert len(rows) == 1 + 2  # each image once
    assert len(rows[0].split(",")) == 2 + (1 if name == "mse" else 2)  # classes without the background


@pytest.mark.parametrize("table", [(48, 56)], indirect=True)
def test_features_of_stained_sections(table):
    configs = [f"{CONFIGS}/train_autoencoder.yaml", f"{CONFIGS}/sections.yaml"]
    run(config_file=configs, items=2, patch_size=32, channels=[4, 4], **options(table, working_size=64))
    assert load_extractor(table.parent / "mine" / "models" / "autoencoder.pt") is not None


@pytest.mark.parametrize("table", [(72, 80)], indirect=True)
@pytest.mark.parametrize("backbone", ["voxelmorph", "transmorph"])
def test_other_backbones_by_config(table, backbone):
    given = options(table, backbone=backbone, channels=[8, 8])
    run(config_file=f"{CONFIGS}/train.yaml", similarity="mse", batch_size=1, **given)
    model, out = table.parent / "mine" / "models" / "model.pt", table.parent / "out"
    given = {key: value for key, value in given.items() if key not in ("max_epochs", "bundle_root")}
    run(config_file=f"{CONFIGS}/inference.yaml", weights=str(model), output_dir=str(out), report=False, **given)
    metrics = json.loads((out / "01" / "metrics.json").read_text())
    assert metrics["status"] in ("ok", "poor")  # two steps of training promise nothing
    assert metrics["support"] > 0.2


def test_a_training_without_extractor_says_what_to_give(table):
    with pytest.raises(RuntimeError) as caught:
        run(config_file=f"{CONFIGS}/train.yaml", **options(table))
    assert "give --extractor WEIGHTS.pt" in str(caught.value.__cause__)


def test_the_released_weights_fit():
    models = ROOT / "bundles" / "semantic_similarity" / "models"
    for name, dimensions, channels in RELEASED:
        load_pretrained(registration_network("unet", dimensions, channels, dropout=0.0), models / f"{name}.pt")
    for name, dimensions in (("slice", 2), ("membrane", 2), ("sections", 2), ("volume", 3)):
        for features in ("autoencoder", "segmentation") if name != "sections" else ("autoencoder",):
            extractor = load_extractor(models / f"{name}_{features}.pt")
            assert len(extractor(torch.rand(1, 1, *(32,) * dimensions))) == 3


def test_the_released_network_aligns_real_brain_slices(shared_data, tmp_path, monkeypatch):
    if not (shared_data / "brain_slabs").is_dir():
        pytest.skip(f"brain slabs not found at {shared_data / 'brain_slabs'}")
    monkeypatch.chdir(ROOT)
    brain_slabs(str(shared_data / "brain_slabs"), str(tmp_path / "set"), axial=9)
    pairs = select_pairs(tmp_path / "set" / "pairs.csv", status="validation")
    files = {"pairs": str(tmp_path / "set" / "pairs.csv"), "status": "validation", "output_dir": str(tmp_path / "out")}
    run(config_file=f"{CONFIGS}/evaluate.yaml", background_value=0, report=False, **files, **CPU)
    gain = registered(tmp_path / "out", pairs)["dice"] - unregistered(pairs)["dice"]
    assert gain.min() > 0.03


@pytest.mark.slow
def test_monais_tools_take_the_network_and_the_export_equals_it(tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    files = {"meta_file": f"{CONFIGS}/metadata.json", "config_file": f"{CONFIGS}/inference.yaml"}
    verify_net_in_out("network_def", **files)
    network = registration_network("unet", 2, (16, 32, 64))
    torch.save(network.state_dict(), tmp_path / "model.pt")
    ckpt_export("network_def", str(tmp_path / "model.ts"), str(tmp_path / "model.pt"), **files)
    torchscript, image = load_pretrained(torch.nn.Identity(), None, tmp_path / "model.ts"), torch.rand(1, 2, 130, 150)
    with torch.no_grad():
        assert torch.allclose(torchscript(image), network.eval()(image), atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("table", [(48, 56)], indirect=True)
def test_two_processes_train_one_model(table):
    root = table.parent / "mine"
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nnodes=1", "--nproc_per_node=2"]
    command += ["-m", "monai.bundle", "run", "--config_file"]
    command += [f"['{CONFIGS}/train.yaml','{CONFIGS}/multi_gpu_train.yaml']", "--pairs", str(table), "--items", "4"]
    command += ["--similarity", "mse", "--batch_size", "1", "--bundle_root", str(root), "--max_epochs"]
    for epochs in ("1", "2"):  # the second run goes on after the first
        done = subprocess.run([*command, epochs], cwd=ROOT, capture_output=True, text=True, check=False, timeout=300)
        assert done.returncode == 0, done.stderr[-2000:]
    assert (done.stdout + done.stderr).count("resuming after epoch 1 of 2") == 1
    rows = (root / "models" / "registration" / "curve.csv").read_text().splitlines()
    assert [row.split(",")[0] for row in rows] == ["epoch", "1", "2"]
    state = read_state(root / "models" / "model.pt", "model")
    registration_network("unet", 2, (16, 32, 64)).load_state_dict(state)
