"""The command refuses what would run as code, unless the user says that it is trusted."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from custom_components.bundles.places import folder
from custom_components.common.errors import InputError
from warpzoo.trust import check_trusted

OWN = {"method": "hybrid_matching"}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("working_size", "$__import__('os').system('id')"),
        ("output_ext", "%evil.yaml::run"),
        ("scales", [0.5, "$evil()"]),
        ("candidates", {"_target_": "os.system", "command": "id"}),
        ("inferer::_target_", "os.system"),
        ("imports", ["import os"]),
        ("finest_size", "$ None if 1 else 2"),
    ],
)
def test_values_that_are_code_are_refused(key, value) -> None:
    with pytest.raises(InputError, match=r"--trust true runs it"):
        check_trusted("register", ("a", "b"), OWN, {key: value})


def test_constants_paths_and_references_are_none() -> None:
    options = {"finest_size": "$None", "moving_landmarks": "$marks.csv", "output_dir": "$out", "note": "%a", "x": "@y"}
    check_trusted("register", ("$a.png", "%b.png"), OWN, options)


def test_bundles_and_configs_of_others_are_code(tmp_path) -> None:
    for own in ("histology_registration", folder("patch_nonrigid")):
        check_trusted("cohort", ("pairs.csv",), {"method": own}, {})
    shutil.copytree(Path(folder("hybrid_matching")) / "configs", tmp_path / "hybrid_matching" / "configs")
    for other in (tmp_path / "hybrid_matching", tmp_path / "hybrid_matching/configs/inference.yaml"):
        with pytest.raises(InputError, match="is not one that WarpZoo brings"):
            check_trusted("register", ("a", "b"), {"method": str(other)}, {})
    with pytest.raises(InputError, match="is not one that WarpZoo brings"):
        check_trusted("train", (str(tmp_path / "hybrid_matching"),), {"config": "train"}, {})
    (tmp_path / "my.yaml").write_text("run: []")
    with pytest.raises(InputError, match=r"the config .*my\.yaml is code"):
        check_trusted("train", ("patch_nonrigid",), {"config": str(tmp_path / "my.yaml")}, {})


def test_a_folder_of_the_default_bundles_name_is_not_taken_for_it(tmp_path, monkeypatch) -> None:
    shutil.copytree(Path(folder("hybrid_matching")) / "configs", tmp_path / "hybrid_matching" / "configs")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="is not one that WarpZoo brings"):
        check_trusted("register", ("a", "b"), OWN, {})


def test_the_command_ends_with_one_line_before_anything_is_run(tmp_path) -> None:
    given = ["register", "a.png", "b.png", "--working_size", "$open('ran', 'w').close()"]
    done = subprocess.run(
        [sys.executable, "-m", "warpzoo", *given], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "--working_size '$open('ran', 'w').close()' is code" in done.stderr
    assert list(tmp_path.iterdir()) == []
