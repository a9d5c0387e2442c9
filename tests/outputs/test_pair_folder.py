"""The folder of a pair is whole or absent, whoever else writes it and whatever was left of it."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest

from custom_components.common.errors import InputError
from custom_components.outputs.pair_folder import clear_leftovers, publish, read_stamp
from custom_components.results.record import find_metrics


def write(output_dir: Path, name: str, number: int = 0) -> None:
    """Publish a folder of two files that hold the same number."""

    def fill(folder: Path) -> None:
        for file in ("metrics.json", "report.html"):
            (folder / file).write_text(json.dumps({"id": name, "status": "ok", "number": number}))

    publish(output_dir, name, fill)


def test_leftovers_of_the_named_pairs_go_and_all_else_stays(tmp_path):
    write(tmp_path, "a")
    stale = {".a.0123abcd.partial", ".a.0123abcd.old", ".a.partial", ".a.b.0123abcd.partial"}
    others = {".c.0123abcd.partial", ".git", ".a.txt"}
    for name in stale | others:
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").touch()
    clear_leftovers(tmp_path, {"a", "a.b"})
    assert {path.name for path in tmp_path.iterdir()} == {"a", *others}
    clear_leftovers(tmp_path / "absent", {"a"})


def test_many_at_once_leave_one_whole_folder(tmp_path):
    together = Barrier(4, timeout=30)

    def one(number: int) -> None:
        for turn in range(20):
            together.wait()
            write(tmp_path, "a", 100 * number + turn)

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(one, range(4)))
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    found = {json.loads(file.read_text())["number"] for file in (tmp_path / "a").iterdir()}
    assert len(found) == 1
    assert found < {100 * number + 19 for number in range(4)}  # of the last turn


def test_a_failure_while_filling_leaves_what_was_there(tmp_path):
    write(tmp_path, "a", 1)

    def stumble(folder: Path) -> None:
        (folder / "metrics.json").write_text("{}")
        raise OSError("no space left on device")

    with pytest.raises(InputError, match=r"can't be written \(no space left on device\); choose another output_dir"):
        publish(tmp_path, "a", stumble)
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert find_metrics(tmp_path / "a") == {"id": "a", "status": "ok", "number": 1}


def test_the_stamp_changes_with_the_content_and_not_with_a_copy(tmp_path):
    assert read_stamp(tmp_path, "a") is None
    write(tmp_path / "here", "a", 1)
    write(tmp_path / "there", "a", 1)
    first = read_stamp(tmp_path / "here", "a")
    assert first == read_stamp(tmp_path / "there", "a")
    write(tmp_path / "here", "a", 2)
    assert read_stamp(tmp_path / "here", "a") not in (None, first)
