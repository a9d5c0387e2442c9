from __future__ import annotations

from pathlib import Path

import pytest

from custom_components.errors import InputError
from custom_components.pairs import atomic_path


def _fail_midway(target: Path) -> None:
    with atomic_path(target) as partial:
        partial.write_text("half")
        raise RuntimeError("stopped")


def test_the_file_appears_only_when_all_is_written(tmp_path: Path) -> None:
    target = tmp_path / "a.nii.gz"
    with atomic_path(target) as partial:
        assert partial.parent == tmp_path
        assert partial.name.endswith(".nii.gz")
        partial.write_text("whole")
        assert not target.exists()
    assert target.read_text() == "whole"


def test_a_failure_leaves_the_old_file_and_no_rest(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    target.write_text("old")
    with pytest.raises(RuntimeError, match="stopped"):
        _fail_midway(target)
    assert target.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_a_missing_folder_is_the_users_to_mend(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="can't be written"), atomic_path(tmp_path / "no" / "a") as partial:
        partial.write_text("x")
