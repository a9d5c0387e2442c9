"""A training writes into a folder of its own and goes on only as itself."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from monai.bundle import ConfigParser

from custom_components.common.errors import InputError
from custom_components.engines import run_folder, training_record
from custom_components.handlers.training_files import agree_on_training, check_model_file, check_same_training

ROOT = Path(__file__).resolve().parents[2]
TRAININGS = sorted(
    file for file in ROOT.glob("bundles/*/configs/*.yaml") if "ckpt_dir" in (yaml.safe_load(file.read_text()) or {})
)


def test_a_bundle_gets_a_folder_by_time_and_a_folder_of_ones_own_is_taken(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bundles" / "mine" / "configs").mkdir(parents=True)
    (tmp_path / "bundles" / "mine" / "configs" / "metadata.json").write_text("{}")
    first = Path(run_folder("bundles/mine"))
    assert first.parent == Path("runs/mine")
    assert not first.exists()
    first.mkdir(parents=True)
    assert Path(run_folder("bundles/mine")) != first
    assert run_folder("runs/own") == "runs/own"
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(InputError, match="give --run_dir"):
        run_folder("bundles/mine")


@pytest.mark.parametrize("config", TRAININGS, ids=lambda file: file.relative_to(ROOT / "bundles").as_posix())
def test_no_documented_training_writes_where_the_repository_keeps_files(config, monkeypatch):
    monkeypatch.chdir(ROOT)
    base = {"finetune_cotr.yaml": "train_cotr.yaml"}.get(config.name)
    parser = ConfigParser()
    parser.read_config([str(file) for file in ([config.with_name(base)] if base else []) + [config]])
    parser.parse()
    keys = [key for key in ("ckpt_dir", "model_file", "trainer::model_file") if key in parser]
    for key in keys:
        assert parser.get_parsed_content(key).startswith(f"runs/{config.parents[1].name}/")
    again = ConfigParser(dict(parser.config) | {"run_dir": "here"})
    for key in keys:
        assert again.get_parsed_content(key).startswith("here/models/")


def table(folder: Path, *rows: str) -> Path:
    for name in ("a.png", "b.png"):
        (folder / name).write_text(name)
    (folder / "pairs.csv").write_text("\n".join(["id,moving,fixed,status", *rows]) + "\n")
    return folder / "pairs.csv"


def test_the_record_is_that_of_the_rows_that_are_trained_on(tmp_path):
    first = training_record(table(tmp_path, "1,a.png,b.png,training", "2,a.png,b.png,evaluation"), "training")
    same = training_record(table(tmp_path, "1,a.png,b.png,training", "3,b.png,a.png,evaluation"), "training")
    assert first == same
    assert first["data"] != training_record(tmp_path / "pairs.csv")["data"]
    other = training_record(table(tmp_path, "1,b.png,a.png,training"), "training")
    assert other["data"] != first["data"]
    (tmp_path / "a.png").write_text("longer than it was")
    assert training_record(tmp_path / "pairs.csv", "training")["data"] != other["data"]


def test_another_training_is_refused_with_what_differs(tmp_path):
    record = {"data": "1", "weights": {}, "options": {"seed": 0}}
    file = tmp_path / "new" / "training.json"
    assert not agree_on_training(file, record, write=True)
    assert agree_on_training(file, record, write=True)
    with pytest.raises(InputError, match=r"differs in the data .*, seed; give another --run_dir"):
        agree_on_training(file, {"data": "2", "weights": {}, "options": {"seed": 1}}, write=True)
    with pytest.raises(InputError, match="does not say which data"):
        check_same_training(file, None, record)
    check_same_training(file, record, None)


def test_neither_a_shipped_model_nor_a_strangers_is_replaced(tmp_path):
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "metadata.json").write_text("{}")
    for name in ("models", "other"):
        (tmp_path / name).mkdir()
    shipped, other = tmp_path / "models" / "model.pt", tmp_path / "other" / "deep" / "model.pt"
    other.parent.mkdir()
    for file in (shipped, other):
        check_model_file(file, resumed=False)
        file.write_text("weights")
    with pytest.raises(InputError, match="belongs to the bundle"):
        check_model_file(shipped, resumed=True)
    with pytest.raises(InputError, match="not of this training"):
        check_model_file(other, resumed=False)
    check_model_file(other, resumed=True)
