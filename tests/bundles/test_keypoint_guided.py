"""The keypoint_guided bundle: its weights on a known warp, its commands, MONAI's tools, its training on tiny images."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from monai.bundle import ckpt_export, run, verify_net_in_out
from monai.utils import set_determinism
from PIL import Image
from scipy.ndimage import gaussian_filter

from custom_components.common.weights import load_pretrained
from custom_components.fields import identity_grid, sample
from custom_components.inferers import Estimate, NetworkField, PairImages
from custom_components.networks import MaskFlownetS

ROOT = Path(__file__).resolve().parents[2]
BUNDLE = ROOT / "bundles" / "keypoint_guided"
CONFIGS = "bundles/keypoint_guided/configs"
WIDTHS: dict[str, Any] = {
    "channels": [16, 24, 32, 48, 64, 96],
    "estimator_channels": [64, 64, 48, 32, 16],
    "context_channels": [64, 64, 64, 48, 32, 16],
}
TINY: dict[str, Any] = {
    "_target_": "custom_components.networks.MaskFlownetS",
    "channels": [4] * 6,
    "estimator_channels": [4],
    "context_channels": [4] * 6,
}


def release(name: str = "model.pt") -> MaskFlownetS:
    network = MaskFlownetS(**WIDTHS)
    load_pretrained(network, BUNDLE / "models" / name)
    return network.eval()


@pytest.mark.parametrize(
    ("name", "largest"), [("model.pt", 4.0), ("d_pcg.pt", 4.0), ("pretrained.pt", 4.0), ("pretrained.pt", 16.0)]
)
def test_the_released_weights_find_a_known_warp_and_its_direction(name, largest):
    generator = torch.Generator().manual_seed(1)
    parts = [torch.rand(1, 1, 320 // step, 320 // step, generator=generator) for step in (4, 8, 16)]
    moving = sum(torch.nn.functional.interpolate(part, (320, 320), mode="bicubic") for part in parts) / 3
    moving = moving.clamp(0, 1)
    grid = identity_grid((320, 320))
    truth = largest * torch.stack([torch.sin(grid[1] / 60), torch.cos(grid[0] / 70)])[None]
    fixed = sample(moving, grid + truth)
    mask = torch.ones_like(moving)
    found = NetworkField(release(name))(PairImages(moving, fixed, mask, mask), Estimate.identity((320, 320))).ddf
    inside = (..., slice(40, -40), slice(40, -40))
    before, after = truth[inside].norm(dim=1).mean(), (found - truth)[inside].norm(dim=1).mean()
    assert after < 0.35 * before


@pytest.mark.slow
def test_a_pair_from_the_command_line_is_better_after_than_before(demo_metrics):
    metrics = demo_metrics("keypoint_guided")
    assert metrics["landmarks"]["mean"] < 0.25 * metrics["landmarks"]["initial_mean"]


@pytest.mark.slow
def test_monais_tools_take_the_network_and_the_export_equals_it(tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    files = {"meta_file": str(BUNDLE / "configs" / "metadata.json"), "config_file": f"{CONFIGS}/inference.yaml"}
    verify_net_in_out("network_def", **files)
    ckpt_export("network_def", str(tmp_path / "model.ts"), str(BUNDLE / "models" / "model.pt"), **files)
    torchscript = load_pretrained(torch.nn.Identity(), None, tmp_path / "model.ts")
    network, image = release(), torch.rand(1, 2, 130, 150)
    with torch.no_grad():
        assert torch.allclose(torchscript(image), network(image), atol=1e-4)


@pytest.fixture
def table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Two pairs of made sections, textured ovals on white."""
    rows, columns = np.mgrid[-1:1:80j, -1:1:72j]
    for number in range(3):
        noise = gaussian_filter(np.random.default_rng(number % 2).normal(size=(80, 72, 3)), (2, 2, 0))
        oval = (rows / 0.8) ** 2 + (columns / 0.75) ** 2 < 1 + 0.1 * number
        picture = np.where(oval[..., None], 120 + 50 * noise / noise.std(), 244).clip(0, 255).round()
        Image.fromarray(picture.astype(np.uint8)).save(tmp_path / f"{number}.png")
    (tmp_path / "pairs.csv").write_text("id,moving,fixed\na,0.png,1.png\nb,0.png,2.png\n")
    monkeypatch.chdir(ROOT)
    yield tmp_path / "pairs.csv"
    set_determinism(None)  # what the configs switch on


def test_pretraining_and_the_ladder_lead_to_a_model(table, tmp_path):
    options: dict[str, Any] = {
        "pairs": str(table), "bundle_root": str(tmp_path / "mine"), "device": "$torch.device('cpu')",
        "working_size": 80, "amp": False, "network_def": TINY,
    }  # fmt: skip
    pretraining = {"_target_": "custom_components.common.weights.load_pretrained", "network": TINY, "file": None}
    run(
        config_file=f"{CONFIGS}/pretrain.yaml", max_epochs=1, items=4, patch_size=64, num_workers=0,
        **{**options, "network_def": pretraining},
    )  # fmt: skip
    run(config_file=f"{CONFIGS}/train.yaml", max_epochs=1, min_match_gain=0.0, **options)
    training = tmp_path / "mine" / "models" / "training"
    stages = ["baseline", "d_pcg", "ld_pcg", "pcg", "ipcg_1", "ipcg_2"]
    assert [name for name in stages if not (training / f"{name}.pt").is_file()] == []
    with (training / "d_pcg" / "matches.csv").open() as stream:
        assert [row["id"] for row in csv.DictReader(stream)] == ["a", "b"]
    assert list((training / "matches").glob("*.npz"))
    tiny = MaskFlownetS(channels=[4] * 6, estimator_channels=[4], context_channels=[4] * 6)
    load_pretrained(tiny, tmp_path / "mine" / "models" / "model.pt")


@pytest.mark.slow
def test_one_stage_and_keypoints_alone_from_the_command_line(table, tmp_path):
    torch.save(
        MaskFlownetS(channels=[4] * 6, estimator_channels=[4], context_channels=[4] * 6).state_dict(),
        tmp_path / "start.pt",
    )
    command = [
        sys.executable, "-m", "monai.bundle", "run", "--config_file", f"{CONFIGS}/train.yaml", "--pairs", str(table),
        "--bundle_root", str(tmp_path / "mine"), "--init_weights", str(tmp_path / "start.pt"), "--working_size", "80",
        "--network_def", json.dumps(TINY), "--amp", "false",
    ]  # fmt: skip
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
    for more, said in (
        (["--generate_keypoints", "fixed"], "correspondences a pair in 2 pairs"),
        (["--stage", "d_pcg"], "d_pcg: fixed"),
    ):
        done = subprocess.run([*command, *more], cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-3000:]
        assert said in done.stdout
    assert [file.name for file in (tmp_path / "mine" / "models" / "training").glob("*.pt")] == ["d_pcg.pt"]


def table_rows(file: Path) -> list[dict[str, str]]:
    with file.open(newline="") as stream:
        return list(csv.DictReader(stream))


@pytest.mark.slow
def test_two_processes_climb_the_ladder_together(table, tmp_path, two_processes):
    tiny = MaskFlownetS(channels=[4] * 6, estimator_channels=[4], context_channels=[4] * 6)
    torch.save(tiny.state_dict(), tmp_path / "start.pt")
    options = {
        "pairs": table, "bundle_root": tmp_path / "mine", "init_weights": tmp_path / "start.pt", "working_size": 80,
        "network_def": TINY, "amp": "false", "min_match_gain": 0.0, "max_epochs": 2, "last_epochs": 1,
    }  # fmt: skip
    said = two_processes("keypoint_guided", "train.yaml", **options)
    training = tmp_path / "mine" / "models" / "training"
    stages = ["baseline", "d_pcg", "ld_pcg", "pcg", "ipcg_1", "ipcg_2", "ipcg_3", "detail"]
    for stage in stages:
        assert len([line for line in said.splitlines() if line.startswith(f"{stage}: ")]) == 1  # by one process
        assert (training / f"{stage}.pt").is_file()
        assert len(list((training / stage / "tensorboard").iterdir())) == 1
        rows = table_rows(training / stage / "curve.csv")
        assert [row["epoch"] for row in rows] == [str(n + 1) for n in range(len(rows))]
    assert len(table_rows(training / "d_pcg" / "curve.csv")) == 2
    assert [row["id"] for row in table_rows(training / "ipcg_1" / "matches.csv")] == ["a", "b"]  # each matched one
    load_pretrained(tiny, tmp_path / "mine" / "models" / "model.pt")
    assert two_processes("keypoint_guided", "train.yaml", **options).count("done already") == len(stages)


@pytest.mark.slow
def test_two_processes_pretrain_one_network(table, tmp_path, one_network):
    models = tmp_path / "mine" / "models"
    one_network(
        "keypoint_guided", "pretrain.yaml", models / "pretrained.pt", pairs=table, bundle_root=tmp_path / "mine",
        working_size=80, amp="false", items=5, patch_size=64, batch_size=1, num_workers=0,
        network_def={"_target_": "custom_components.common.weights.load_pretrained", "network": TINY, "file": None},
    )  # fmt: skip
    assert [row["epoch"] for row in table_rows(models / "pretraining" / "curve.csv")] == ["1", "2"]
