"""Hidden folders of running processes stay; of those that have ended nothing of the user's is lost."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from custom_components.common.errors import InputError
from custom_components.outputs.pair_folder import clear_leftovers
from custom_components.pairs.atomic import atomic_path
from custom_components.pairs.overwriting import check_output_file
from custom_components.pairs.owners import OWNER, is_owned, process_mark, sign

RECORD = json.dumps({"id": "a", "status": "ok"})


def hidden(root: Path, kind: str, **record: object) -> Path:
    folder = root / f".a.0123abcd.{kind}"
    folder.mkdir()
    sign(folder, "0123abcd")
    owner = json.loads((folder / OWNER).read_text()) | record
    (folder / OWNER).write_text(json.dumps(owner))
    return folder


def ended() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_of_a_killed_process_no_record_and_no_file_stays(tmp_path: Path) -> None:
    folder = tmp_path / "a"
    folder.mkdir()
    (folder / "metrics.json").write_text(RECORD)
    sign(folder, "0123abcd")
    (folder / OWNER).write_text(json.dumps(json.loads((folder / OWNER).read_text()) | {"pid": ended()}))
    host, _, start = process_mark().split("-")
    dead = [
        tmp_path / f".{host}-{ended():x}-{start}.0a1b.summary.csv",
        folder / f".{host}-{ended():x}-1.0a1b.failed_attempt.json",
    ]
    stays = [
        tmp_path / f".{process_mark()}.0a1b.summary.csv", tmp_path / f".0000-{ended():x}-{start}.0a1b.summary.csv",
        tmp_path / f".{host}-{ended():x}-{start}.0a1b.mine.csv", tmp_path / ".mine.csv",
    ]  # fmt: skip
    for file in (*dead, *stays):
        file.write_text("")
    clear_leftovers(tmp_path, {"a"})
    assert sorted(path.name for path in folder.iterdir()) == ["metrics.json"]
    assert not any(file.exists() for file in dead)
    assert all(file.exists() for file in stays)


def test_a_file_that_is_being_written_tells_by_whom(tmp_path: Path) -> None:
    with atomic_path(tmp_path / "summary.csv") as partial:
        partial.write_text("new")
        clear_leftovers(tmp_path, set())
    assert (tmp_path / "summary.csv").read_text() == "new"


def test_the_folder_of_a_process_that_runs_stays_and_of_one_that_ended_goes(tmp_path: Path) -> None:
    mine = hidden(tmp_path, "partial")
    assert is_owned(mine)
    clear_leftovers(tmp_path, {"a"})
    assert mine.is_dir()
    (mine / OWNER).write_text(json.dumps(json.loads((mine / OWNER).read_text()) | {"pid": ended()}))
    clear_leftovers(tmp_path, {"a"})
    assert not mine.exists()


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="the system does not tell when processes started")
def test_a_process_number_that_was_given_again_does_not_own_it(tmp_path: Path) -> None:
    assert not is_owned(hidden(tmp_path, "partial", start="1"))


def test_of_another_machine_only_what_nobody_wrote_for_a_day_goes(tmp_path: Path) -> None:
    folder = hidden(tmp_path, "partial", host=f"not-{socket.gethostname()}")
    assert is_owned(folder)
    for path in (folder / OWNER, folder):
        os.utime(path, (time.time() - 2 * 86400,) * 2)
    assert not is_owned(folder)


def test_a_result_that_was_moved_away_by_a_killed_run_comes_back(tmp_path: Path) -> None:
    old = tmp_path / ".a.0123abcd.0.old"
    old.mkdir()
    (old / "metrics.json").write_text(RECORD)
    clear_leftovers(tmp_path, {"a"})
    assert (tmp_path / "a" / "metrics.json").read_text() == RECORD
    assert not old.exists()


def test_foreign_files_of_a_killed_run_move_back_and_ours_go(tmp_path: Path) -> None:
    for name in ("a", ".a.0123abcd.0.old", ".b.0123abcd.old"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "notes.txt").write_text(name)
        (tmp_path / name / "metrics.json").write_text(RECORD)
    clear_leftovers(tmp_path, {"a"})
    assert sorted(p.name for p in tmp_path.iterdir()) == [".b.0123abcd.old", "a"]
    assert (tmp_path / "a" / "notes.txt").read_text() == "a"
    assert (tmp_path / "a" / "earlier_notes.txt").read_text() == ".a.0123abcd.0.old"
    assert len(list((tmp_path / "a").iterdir())) == 3


def test_an_output_is_neither_an_input_nor_there_already(tmp_path: Path) -> None:
    file, link = tmp_path / "a", tmp_path / "link"
    file.write_text("x")
    link.symlink_to(file)
    for output in (file, link):
        with pytest.raises(InputError, match="is an input"):
            check_output_file(output, (None, file), overwrite=True)
    with pytest.raises(InputError, match=r"exists already; .*--overwrite"):
        check_output_file(file, ())
    check_output_file(file, (), overwrite=True)
    check_output_file(tmp_path / "new", (file,))
    with pytest.raises(InputError, match="is a folder"):
        check_output_file(tmp_path, (), overwrite=True)
