"""Every config of every bundle parses without data, names things that exist, and carries valid metadata."""

from __future__ import annotations

import json
import logging.config
import os
import shutil
import subprocess
import sys
from pathlib import Path
from pydoc import locate

import monai.bundle
import numpy as np
import pytest
import yaml
from monai.bundle import ConfigParser, ConfigWorkflow, verify_metadata
from monai.bundle.config_item import ConfigComponent
from monai.utils import set_determinism

from custom_components.pairs import read_image, write_image
from custom_components.pairs.demo import write_demo_pair

ROOT = Path(__file__).resolve().parents[2]
BUNDLES = sorted(path.parent.parent for path in ROOT.glob("bundles/*/configs/metadata.json"))
CONFIGS = sorted(path for path in ROOT.glob("bundles/*/configs/*") if path.suffix in {".yaml", ".yml"})
OVERLAYS = {
    "cotr.yaml": "inference.yaml",
    "union.yaml": "inference.yaml",
    "finetune_cotr.yaml": "train_cotr.yaml",
    "syn.yaml": "inference.yaml",
    "demons.yaml": "inference.yaml",
    "dis.yaml": "inference.yaml",
    "refine.yaml": "inference.yaml",
    "train_refine.yaml": "train.yaml",
    "disturbed.yaml": "inference.yaml",
    "inference_ts.yaml": "inference.yaml",
    "inference_trt.yaml": "inference.yaml",
    "semantic_similarity/configs/sections.yaml": "train_autoencoder.yaml",
    "joint_saliency/configs/sections.yaml": "train.yaml",
}
FRAGMENTS = sorted(ROOT.glob("configs/**/*.yaml"))

each_bundle = pytest.mark.parametrize("bundle", BUNDLES, ids=lambda path: path.name)
each_config = pytest.mark.parametrize("config", CONFIGS, ids=lambda path: path.relative_to(ROOT / "bundles").as_posix())


def _base_of(config: Path) -> str | None:
    """The config that an overlay is read after; None for a whole config."""
    names = (config.name, config.relative_to(ROOT / "bundles").as_posix())
    return next((OVERLAYS[name] for name in names if name in OVERLAYS), None)


def _parse(config: Path, monkeypatch: pytest.MonkeyPatch) -> ConfigParser:
    """Parse as `monai.bundle run` does from the root; an overlay is read on top of what it changes."""
    monkeypatch.chdir(ROOT)  # paths of `%` references are relative to the current folder
    base = config.with_name(_base_of(config) or config.name.removeprefix("multi_gpu_"))
    parser = ConfigParser()
    parser.read_config(list(dict.fromkeys([str(base), str(config)])))
    parser.read_meta(str(config.with_name("metadata.json")))
    parser.parse()
    return parser


@each_config
def test_config_parses_without_data(config, monkeypatch):
    assert _parse(config, monkeypatch).ref_resolver.items


@each_config
def test_every_reference_of_a_config_points_to_an_entry(config, monkeypatch):
    resolver = _parse(config, monkeypatch).ref_resolver
    dangling = {
        f"{name} -> @{reference}"
        for name, item in resolver.items.items()
        for reference in resolver.find_refs_in_config(config=item.get_config(), id=name)
        if reference not in resolver.items
    }
    assert not dangling


@each_config
def test_every_target_of_a_config_can_be_imported(config, monkeypatch):
    components = [
        item for item in _parse(config, monkeypatch).ref_resolver.items.values() if isinstance(item, ConfigComponent)
    ]
    targets = {item.resolve_module_name() for item in components}
    reference_implementation = {target for target in targets if isinstance(target, str) and not target.startswith("$")}
    assert not {target for target in reference_implementation if locate(target) is None}


def _contract(config: Path) -> str:
    return "train" if "train" in config.name else "infer"


@pytest.mark.parametrize(
    "config",
    [c for c in CONFIGS if c.name in ("inference.yaml", "train.yaml", "pretrain.yaml", "train_affine.yaml")
     or c.name.startswith(("train_cotr", "train_autoencoder", "train_segmentation"))],
    ids=lambda path: path.relative_to(ROOT / "bundles").as_posix(),
)  # fmt: skip
def test_monai_has_no_complaint_about_a_workflow(config, monkeypatch, tmp_path):
    """``check_properties`` builds each part, so a training needs something to train on."""
    monkeypatch.chdir(ROOT)
    own: dict[str, object] = {}
    if _contract(config) == "train":
        pair = write_demo_pair(tmp_path / "pair")
        labels = (read_image(pair.fixed).numpy()[:1] > 128).astype(np.uint8)
        write_image(tmp_path / "labels.png", labels)
        (tmp_path / "pairs.csv").write_text(
            "id,moving,fixed,moving_labels,fixed_labels\n" + f"a,{pair.moving},{pair.fixed},labels.png,labels.png\n"
        )
        own = {"pairs": str(tmp_path / "pairs.csv"), "run_dir": str(tmp_path / "run"), "working_size": 256}
        if config.match("semantic_similarity/configs/train.yaml"):
            own["similarity"] = "ncc"
    workflow = ConfigWorkflow(str(config), workflow_type=_contract(config), logging_file=False, **own)
    workflow.initialize()
    assert workflow.check_properties() == []
    set_determinism(None)


@pytest.mark.parametrize("fragment", FRAGMENTS, ids=lambda path: path.name)
def test_shared_fragment_is_a_mapping(fragment):
    assert isinstance(yaml.safe_load(fragment.read_text()), dict)


@each_bundle
def test_bundle_folder_has_the_files_of_the_zoo(bundle):
    wanted = ["LICENSE", "configs/logging.conf", "docs/README.md", "docs/data_license.txt"]
    assert [name for name in wanted if not (bundle / name).is_file()] == []


@each_bundle
def test_logging_conf_is_accepted(bundle):
    logging.config.fileConfig(bundle / "configs" / "logging.conf", disable_existing_loggers=False)


@pytest.mark.slow
@each_bundle
def test_metadata_passes_monai_offline(bundle, schemas, tmp_path):
    metadata = bundle / "configs" / "metadata.json"
    schema = _copy_schema(metadata, schemas, tmp_path)
    command = [sys.executable, "-m", "monai.bundle", "verify_metadata"]
    command += ["--meta_file", str(metadata), "--filepath", str(schema)]
    done = subprocess.run(command, cwd=tmp_path, env=_offline(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "verified with no error" in done.stdout + done.stderr


@each_bundle
def test_metadata_without_task_is_refused(bundle, schemas, tmp_path):
    metadata = json.loads((bundle / "configs" / "metadata.json").read_text())
    del metadata["task"]
    broken = tmp_path / "metadata.json"
    broken.write_text(json.dumps(metadata))
    schema = _copy_schema(broken, schemas, tmp_path)
    with pytest.raises(ValueError, match="'task' is a required property"):
        verify_metadata(meta_file=str(broken), filepath=str(schema))


@each_bundle
def test_metadata_names_the_tested_versions_and_logs_its_own(bundle):
    metadata = json.loads((bundle / "configs" / "metadata.json").read_text())
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = dict(line.lower().split("==") for line in lines if line and not line.startswith("#"))
    said = {
        "monai": metadata["monai_version"],
        "torch": metadata["pytorch_version"],
        "numpy": metadata["numpy_version"],
        **metadata["required_packages_version"],
        **metadata.get("optional_packages_version", {}),
    }
    assert said == {name: pins.get(name) for name in said}
    assert metadata["version"] in metadata["changelog"]


def test_run_is_the_entry_that_the_command_line_starts():
    whole = [config for config in CONFIGS if not (config.name.startswith("multi_gpu_") or _base_of(config))]
    missing = [config.name for config in whole if "run" not in yaml.safe_load(config.read_text())]
    assert callable(monai.bundle.run)
    assert missing == []


def _copy_schema(metadata: Path, schemas: Path, folder: Path) -> Path:
    """Copy the schema that the metadata names: MONAI downloads nothing when the file is there."""
    name = json.loads(metadata.read_text())["schema"].rsplit("/", 1)[-1]
    if not (schemas / name).is_file():
        pytest.skip(f"{name} is not in {schemas}")
    copy = folder / "schema.json"
    shutil.copyfile(schemas / name, copy)
    return copy


def _offline() -> dict[str, str]:
    """Environment in which any download fails at once."""
    nowhere = "http://127.0.0.1:9"
    return {**os.environ, "http_proxy": nowhere, "https_proxy": nowhere, "HTTPS_PROXY": nowhere}
