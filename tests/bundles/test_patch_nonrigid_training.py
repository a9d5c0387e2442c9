"""The training configs of patch_nonrigid on tiny images: they run to their models, survive a kill, share the work."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from monai.bundle import run
from monai.utils import set_determinism
from PIL import Image
from scipy.ndimage import gaussian_filter

from custom_components.common.weights import load_pretrained
from custom_components.networks import NetworkPyramid, PatchUNet

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = "bundles/patch_nonrigid/configs"
NETWORK = {"channels": [4, 8], "head_channels": [4]}
TINY = {
    "working_size": 64,
    "level_network": {"_target_": "custom_components.networks.PatchUNet", **NETWORK},
}
PRETRAIN = {**TINY, "patch_size": 32, "batch_size": 4}
TRAIN = {**TINY, "scales": [0.5, 1.0], "iterations": [1, 2], "patch_size": [32, 32], "batch_size": 2}
TRAIN |= {"finest_patches": 2, "init_weights": "$None"}  # MONAI ignores a plain null of the command line


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five pairs of made sections, dark textured ovals on white; the images of the fourth are not there."""
    folder = tmp_path_factory.mktemp("images")
    rows, columns = np.mgrid[-1:1:80j, -1:1:72j]
    for number in range(5):
        noise = gaussian_filter(np.random.default_rng(number).normal(size=(80, 72, 3)), (2, 2, 0))
        section = 120 + 50 * noise / noise.std()
        oval = (rows / 0.8) ** 2 + (columns / 0.75) ** 2 < 1 + 0.1 * number
        picture = np.where(oval[..., None], section, 244).clip(0, 255).round().astype(np.uint8)
        Image.fromarray(picture).save(folder / f"{number}.png")
    lines = [f"{n},{n}.png,{m}.png,training" for n, m in ((0, 1), (1, 2), (2, 3), (7, 8), (3, 4))]
    (folder / "pairs.csv").write_text("id,moving,fixed,status\n" + "\n".join(lines) + "\n")
    return folder / "pairs.csv"


@pytest.fixture(autouse=True)
def _from_the_root(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(ROOT)
    yield
    set_determinism(None)  # what the configs switch on


def table_rows(file: Path) -> list[dict[str, str]]:
    with file.open(newline="") as stream:
        return list(csv.DictReader(stream))


def equal(first: Path, second: Path) -> bool:
    states = [torch.load(file, weights_only=True) for file in (first, second)]
    assert states[0].keys() == states[1].keys()
    return all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_pretraining_and_training_lead_to_the_weights_of_the_pyramid(table, tmp_path, capsys):
    options: dict[str, Any] = {"pairs": str(table), "bundle_root": str(tmp_path), "device": "$torch.device('cpu')"}
    run(config_file=f"{CONFIGS}/pretrain.yaml", max_epochs=2, items=8, num_workers=0, **options, **PRETRAIN)
    assert capsys.readouterr().out.count("left out: 7: pairs.csv row 5: moving image '7.png' does not exist") == 1
    models = tmp_path / "models"
    load_pretrained(PatchUNet(**NETWORK), models / "pretrained.pt")

    chain = {name: value for name, value in TRAIN.items() if name != "init_weights"}  # by default what came before
    run(config_file=f"{CONFIGS}/train.yaml", max_epochs=1, **options, **chain)
    load_pretrained(NetworkPyramid(PatchUNet(**NETWORK), 2), models / "model.pt")
    for name, epochs in (("pretraining", 2), ("training", 1)):
        rows = table_rows(models / name / "curve.csv")
        assert len(rows) == epochs
        assert all(np.isfinite(float(row["loss"])) for row in rows)
        assert (models / name / "checkpoint.pt").is_file()
        assert list((models / name / "tensorboard").iterdir())
    assert {"loss", "similarity_0", "similarity_1", "regularity_0", "regularity_1"} < set(rows[0])


def command(program: list[str], config: str, table: Path, root: Path, **options: Any) -> list[str]:
    """A run of a bundle from the shell, with ``root`` for its models."""
    options = {"pairs": table, "bundle_root": root, **options}
    return [*program, "-m", "monai.bundle", "run", "--config_file", config,
            *(part for name, value in options.items() for part in (f"--{name}", str(value)))]  # fmt: skip


def environment() -> dict[str, str]:
    """Of a process on the CPU."""
    return {**os.environ, "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}


def finish(arguments: list[str]) -> str:
    done = subprocess.run(
        arguments, cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=500, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    ("config", "folder", "model", "options"),
    [
        ("pretrain", "pretraining", "pretrained.pt", {**PRETRAIN, "items": 600, "num_workers": 1}),
        ("train", "training", "model.pt", {**TRAIN, "iterations": [20, 20]}),
        ("train_affine", "affine_training", "affine.pt", {"working_size": 64, "size": 512, "batch_size": 1}),
    ],
)
def test_a_training_killed_in_an_epoch_and_run_again_ends_with_the_same_model(
    table, tmp_path, config, folder, model, options
):
    file = f"{CONFIGS}/{config}.yaml"

    def arguments(root: Path) -> list[str]:
        return command([sys.executable], file, table, root, max_epochs=3, **options)

    finish(arguments(tmp_path / "whole"))
    models = tmp_path / "killed" / "models"
    process = subprocess.Popen(
        arguments(tmp_path / "killed"), cwd=ROOT, env=environment(), start_new_session=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    deadline = time.monotonic() + 300
    while not (models / folder / "checkpoint.pt").exists():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    time.sleep(0.5)  # into the second epoch
    os.killpg(process.pid, signal.SIGKILL)  # the loader's worker as well
    assert process.wait() == -signal.SIGKILL
    assert not (models / model).exists()
    assert 1 <= len(table_rows(models / folder / "curve.csv")) < 3

    assert "resuming after epoch" in finish(arguments(tmp_path / "killed"))
    assert equal(models / model, tmp_path / "whole" / "models" / model)
    assert [row["epoch"] for row in table_rows(models / folder / "curve.csv")] == ["1", "2", "3"]
    finish(arguments(tmp_path / "killed"))  # nothing left to do: ends as well


@pytest.mark.slow
def test_two_processes_train_one_model(table, tmp_path):
    both = f"['{CONFIGS}/train.yaml','{CONFIGS}/multi_gpu_train.yaml']"
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nnodes=1", "--nproc_per_node=2"]
    own = f"$torch.save(@network.state_dict(), '{tmp_path}/' + str(torch.distributed.get_rank()) + '.pt')"
    ending = [own, "$torch.distributed.destroy_process_group()"]
    for epochs in (1, 2):  # the second run goes on after the first
        said = finish(command(torchrun, both, table, tmp_path, max_epochs=epochs, finalize=ending, **TRAIN))
    assert said.count("resuming after epoch 1 of 2") == 1
    models = tmp_path / "models"
    load_pretrained(NetworkPyramid(PatchUNet(**NETWORK), 2), models / "model.pt")
    assert equal(tmp_path / "0.pt", tmp_path / "1.pt")
    assert equal(tmp_path / "0.pt", models / "model.pt")
    assert [row["epoch"] for row in table_rows(models / "training" / "curve.csv")] == ["1", "2"]
    assert len(list((models / "training" / "tensorboard").iterdir())) == 2  # one a run, not one a process
    # half of the pairs a process is another training than all of them one after another
    finish(command([sys.executable], f"{CONFIGS}/train.yaml", table, tmp_path / "alone", max_epochs=2, **TRAIN))
    assert not equal(tmp_path / "alone" / "models" / "model.pt", models / "model.pt")
