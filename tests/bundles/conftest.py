"""What the bundles' tests share."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from custom_components.fields import index_to_physical
from custom_components.pairs import write_image
from custom_components.pairs.demo import write_demo_pair

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def demo_metrics(tmp_path: Path) -> Callable[[str], dict[str, Any]]:
    """The metrics of the demo's pair, registered by a bundle's evaluate.yaml from the command line."""

    def of(bundle: str) -> dict[str, Any]:
        pair = write_demo_pair(tmp_path / "pair")
        command = [
            sys.executable, "-m", "monai.bundle", "run", "--config_file", f"bundles/{bundle}/configs/evaluate.yaml",
            "--moving", str(pair.moving), "--fixed", str(pair.fixed), "--moving_landmarks", str(pair.moving_landmarks),
            "--fixed_landmarks", str(pair.fixed_landmarks), "--id", "demo", "--output_dir", str(tmp_path / "out"),
        ]  # fmt: skip
        subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
        metrics: dict[str, Any] = json.loads((tmp_path / "out" / "demo" / "metrics.json").read_text())
        assert metrics["status"] == "ok"
        return metrics

    return of


@pytest.fixture
def textured_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[tuple[int, ...]], Path]:
    """Two images of one texture, one voxel apart, with label maps, and their pair table, by the size of the images."""

    def of(spatial: tuple[int, ...]) -> Path:
        suffix = ".png" if len(spatial) == 2 else ".nii.gz"
        noise = gaussian_filter(np.random.default_rng(0).normal(size=spatial), 3)
        noise = (noise - noise.min()) / np.ptp(noise)
        for number in range(2):
            image = np.roll(noise, number, axis=-1)
            matrix = index_to_physical([1.0] * len(spatial))
            for kind, array in (("image", 255 * image), ("labels", 1 + (image > 0.5))):
                write_image(tmp_path / f"{kind}{number}{suffix}", array.astype(np.uint8)[None], matrix)
        rows = [
            f"{a}{b},image{a}{suffix},image{b}{suffix},labels{a}{suffix},labels{b}{suffix},training"
            for a, b in ((0, 1), (1, 0))
        ]
        header = "id,moving,fixed,moving_labels,fixed_labels,status"
        (tmp_path / "pairs.csv").write_text("\n".join([header, *rows]))
        monkeypatch.chdir(ROOT)
        return tmp_path / "pairs.csv"

    return of


@pytest.fixture
def two_processes() -> Callable[..., str]:
    """A training by two processes on the CPU, as torchrun starts them; gives what they say."""

    def train(bundle: str, config: str, **options: Any) -> str:
        configs = [f"bundles/{bundle}/configs/{name}" for name in (config, f"multi_gpu_{config}")]
        command = [
            sys.executable, "-m", "torch.distributed.run", "--standalone", "--nnodes=1", "--nproc_per_node=2",
            "-m", "monai.bundle", "run", "--config_file", str(configs),
        ]  # fmt: skip
        command += [part for name, value in options.items() for part in (f"--{name}", str(value))]
        environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
        done = subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=900, check=False
        )
        assert done.returncode == 0, done.stderr[-3000:]
        return done.stdout

    return train


@pytest.fixture
def one_network(two_processes: Callable[..., str], tmp_path: Path) -> Callable[..., None]:
    """Trains an epoch by two processes, then another one, and asserts that both hold the network that is written."""

    def train(bundle: str, config: str, model: Path, **options: Any) -> None:
        own = f"$torch.save(@network.state_dict(), '{tmp_path}/' + str(torch.distributed.get_rank()) + '.pt')"
        for epochs in (1, 2):
            ending = [own, "$torch.distributed.destroy_process_group()"]
            said = two_processes(bundle, config, max_epochs=epochs, finalize=ending, **options)
        assert said.count("resuming after epoch 1 of 2") == 1  # by one of them
        written = torch.load(model, weights_only=True)
        for rank in range(2):
            state = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
            assert state.keys() == written.keys()
            assert all(torch.equal(value, written[name]) for name, value in state.items())

    return train
