from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from custom_components.common.errors import InputError
from custom_components.pairs import atomic_folder, atomic_path


def ours(folder: Path) -> Callable[[str], bool]:
    """All but a user's notes."""
    return lambda name: "notes" not in name


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


def test_a_folder_takes_the_place_of_an_older_one(tmp_path: Path) -> None:
    target = tmp_path / "folder"
    for name in ("old", "new"):
        with atomic_folder(target, ours) as partial:
            (partial / name).write_text("whole")
            assert not (target / name).exists()
    assert [file.name for file in tmp_path.rglob("*")] == ["folder", "new"]


def _fail_in(target: Path) -> None:
    with atomic_folder(target, ours) as partial:
        (partial / "new").write_text("half")
        raise RuntimeError("stopped")


def test_a_failure_leaves_the_older_folder_and_no_rest(tmp_path: Path) -> None:
    target = tmp_path / "folder"
    with atomic_folder(target, ours) as partial:
        (partial / "old").write_text("whole")
    with pytest.raises(RuntimeError, match="stopped"):
        _fail_in(target)
    assert [file.name for file in tmp_path.rglob("*")] == ["folder", "old"]


def test_a_folder_that_cannot_take_its_place_leaves_the_older_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "folder"
    with atomic_folder(target, ours) as partial:
        (partial / "old").write_text("whole")
    rename = os.replace

    def failing(source: Path, place: Path) -> None:
        if source.name.endswith(".partial"):
            raise OSError("no")
        rename(source, place)

    monkeypatch.setattr(os, "replace", failing)
    with pytest.raises(OSError, match="no"), atomic_folder(target, ours) as partial:
        (partial / "new").write_text("whole")
    assert [file.name for file in tmp_path.rglob("*")] == ["folder", "old"]


def test_what_is_not_ours_moves_over_into_the_new_folder(tmp_path: Path) -> None:
    target = tmp_path / "folder"
    for text in ("first", "second"):
        with atomic_folder(target, ours) as partial:
            (partial / "field").write_text(text)
            if text == "second":
                (partial / "notes.txt").write_text("new")
        if text == "first":
            (target / "notes.txt").write_text("the user's")
            (target / "notes" / "deep").mkdir(parents=True)
            (target / "notes" / "deep" / "file").write_text("the user's")
    assert {p.relative_to(target).as_posix(): p.read_text() for p in target.rglob("*") if p.is_file()} == {
        "field": "second", "notes.txt": "new", "earlier_notes.txt": "the user's", "notes/deep/file": "the user's",
    }  # fmt: skip


def test_a_folder_that_nobody_recognises_is_refused_before_the_work(tmp_path: Path) -> None:
    target = tmp_path / "folder"
    target.mkdir()
    with atomic_folder(target) as partial:  # an empty one is nobody's loss
        (partial / "file").write_text("x")
    with pytest.raises(InputError, match="is not replaced"), atomic_folder(target):
        raise AssertionError
    assert [file.name for file in tmp_path.rglob("*")] == ["folder", "file"]
