"""Packed bundles as the model zoo tests its own: ConfigWorkflow with other data, from initialize to finalize.

Each runs in a process of its own, as in the zoo, where nothing of the repository can be imported.
"""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from monai.bundle import load

from custom_components.pairs.demo import write_demo_pair
from custom_components.share import pack

ROOT = Path(__file__).resolve().parents[2]
BUNDLES = sorted(path.parent.parent for path in ROOT.glob("bundles/*/configs/metadata.json"))
WORKFLOW = """
import sys
sys.modules["custom_components"] = None
from monai.bundle import ConfigWorkflow
sys.path.insert(0, "{folder}")
workflow = ConfigWorkflow(
    config_file={files}, workflow_type="infer", bundle_root="{folder}", moving="{moving}", fixed="{fixed}",
    moving_landmarks="{landmarks}", output_dir="{out}", id="demo", report=False, working_size=256,
)
workflow.initialize()
wrong = workflow.check_properties()
assert not wrong, wrong
workflow.run()
workflow.finalize()
"""
COMMANDS = {
    "verify_net_in_out": "verify_net_in_out network_def {files}",
    "ckpt_export": "ckpt_export network_def --filepath models/model.ts --ckpt_file models/model.pt {files}",
    "download": "download {name} --url {archive} --bundle_dir {out}",
}
FILES = "--meta_file configs/metadata.json --config_file configs/inference.yaml"


def landmarks(file: Path) -> torch.Tensor:
    with file.open() as stream:
        return torch.tensor([[float(row["X"]), float(row["Y"])] for row in csv.DictReader(stream)])


@pytest.mark.slow
@pytest.mark.parametrize("bundle", BUNDLES, ids=lambda path: path.name)
def test_workflows_and_commands_of_a_packed_bundle(bundle, tmp_path):
    pair = write_demo_pair(tmp_path / "pair")
    pack(str(bundle), str(tmp_path), zip=True)
    folder = tmp_path / bundle.name
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment["PYTHONPATH"] = str(folder)

    def inferred(name: str, files: list[str]) -> torch.Tensor:
        program = WORKFLOW.format(
            folder=folder, files=[str(folder / "configs" / file) for file in files], moving=pair.moving,
            fixed=pair.fixed, landmarks=pair.moving_landmarks, out=tmp_path / name,
        )  # fmt: skip
        done = subprocess.run(
            [sys.executable, "-c", program], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr[-3000:]
        return landmarks(tmp_path / name / "demo" / "warped_landmarks.csv")

    plain = inferred("plain", ["inference.yaml"])
    values = {"files": FILES, "name": bundle.name, "out": tmp_path / "fetched"}
    values["archive"] = next(tmp_path.glob("*.zip")).as_uri()
    (tmp_path / "fetched").mkdir()
    for name, command in COMMANDS.items():
        done = subprocess.run(
            [sys.executable, "-m", "monai.bundle", *command.format(**values).split()],
            cwd=folder, env=environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{name}: {done.stderr[-3000:]}"
    assert (tmp_path / "fetched" / bundle.name / "configs" / "inference.yaml").is_file()
    loaded = load(bundle.name, bundle_dir=str(tmp_path), source="github")  # nothing is fetched: the folder is there
    assert loaded.keys() == torch.load(folder / "models" / "model.pt", weights_only=True).keys()
    torchscript = inferred("torchscript", ["inference.yaml", "inference_ts.yaml"])
    assert torch.allclose(torchscript, plain, atol=0.01)  # pixels
