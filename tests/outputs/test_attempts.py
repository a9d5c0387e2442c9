"""A pair at which a process died is told by the next run: skipped where it crashed, tried last where it was killed."""

from __future__ import annotations

import faulthandler
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from custom_components.engines import PairEvaluator, pair_dataset
from custom_components.outputs.attempts import KILLS, Attempt, record_file
from custom_components.pairs import write_image

# dies at the pair that its argument names by the signal that its argument names, before anything is read
PROGRAM = """
import os, signal, sys
from custom_components.engines import PairEvaluator, pair_dataset

def prepare(data):
    if data["pair"].id == sys.argv[2]:
        os.kill(os.getpid(), int(sys.argv[3]))
    raise ValueError("this pair ends here")

PairEvaluator(pair_dataset("out", pairs=sys.argv[1]), prepare, None).run()
"""


@pytest.fixture
def table(tmp_path, monkeypatch) -> Path:
    """Three pairs in the current folder."""
    monkeypatch.chdir(tmp_path)
    write_image(tmp_path / "a.png", np.arange(48 * 48, dtype=np.uint8).reshape(1, 48, 48))
    file = tmp_path / "pairs.csv"
    file.write_text("id,moving,fixed\n" + "".join(f"{name},a.png,a.png\n" for name in ("one", "two", "three")))
    return file


def die(table: Path, name: str, number: int) -> int:
    """Exit code of a run that dies at a pair."""
    done = subprocess.run([sys.executable, "-c", PROGRAM, str(table), name, str(number)], check=False, timeout=100)
    return done.returncode


def leave_record(table: Path, deaths: int = 0, sign: str = "", **other: object) -> Path:
    """What a process that died at the pair "one" leaves in the output folder."""
    Path("out").mkdir(exist_ok=True)
    (pair,) = (item["pair"] for item in pair_dataset("out", pairs=table).data if item["pair"].id == "one")
    attempt = Attempt(Path("out"), pair)
    file = record_file(Path("out"), "one")
    said = json.loads(file.read_text())
    attempt.end()
    file.write_text(json.dumps({**said, "process": "0000-1-0", "deaths": deaths, **other}) + f"\n{sign}")
    return file


@pytest.fixture
def of_this_machine(monkeypatch) -> None:
    """A process of another machine counts as running; the one that the records name is gone."""
    monkeypatch.setattr("custom_components.outputs.attempts.is_running", lambda mark: mark != "0000-1-0")


def order(dataset) -> list[str]:
    return [item["pair"].id for item in dataset.data]


def test_a_crash_is_noted_and_the_pair_skipped_with_the_reason(table, of_this_machine) -> None:
    leave_record(table, sign="Fatal Python error: Aborted\n\nCurrent thread ...")
    dataset = pair_dataset("out", pairs=table)
    assert order(dataset) == ["two", "three", "one"]
    assert list(dataset.refused) == ["one"]
    assert "a.png onto a.png: the process that read or registered this pair crashed (Aborted)" in dataset.refused["one"]
    tried = []

    def prepare(data):
        tried.append(data["pair"].id)
        raise ValueError("this pair ends here")

    evaluator = PairEvaluator(dataset, prepare, lambda images: None)  # type: ignore[arg-type, return-value]
    with pytest.raises(SystemExit, match=r"one: a\.png onto a\.png: the process"):
        evaluator.run()
    assert tried == ["two", "three"]
    # it stays skipped, until the user says otherwise or gives another file
    assert list(pair_dataset("out", pairs=table).refused) == ["one"]
    assert pair_dataset("out", pairs=table, resume=False).refused == {}
    write_image(table.parent / "a.png", np.zeros((1, 40, 40), dtype=np.uint8))
    assert pair_dataset("out", pairs=table).refused == {}


def test_a_pair_whose_process_was_killed_is_tried_last_and_not_for_ever(table, of_this_machine) -> None:
    leave_record(table)
    dataset = pair_dataset("out", pairs=table)
    assert order(dataset) == ["two", "three", "one"]
    assert dataset.refused == {}
    leave_record(table, deaths=KILLS - 1)
    assert "3 processes were killed at this pair" in pair_dataset("out", pairs=table).refused["one"]


def test_the_record_of_a_process_that_still_runs_says_nothing(table) -> None:
    dataset = pair_dataset("out", pairs=table)
    attempt = Attempt(Path("out"), dataset.data[0]["pair"])
    assert record_file(Path("out"), "one").is_file()
    assert order(pair_dataset("out", pairs=table)) == ["one", "two", "three"]
    attempt.end()
    assert not record_file(Path("out"), "one").exists()


def test_the_handler_of_faults_is_left_as_it_was(table) -> None:
    dataset, before = pair_dataset("out", pairs=table), faulthandler.is_enabled()
    attempt = Attempt(Path("out"), dataset.data[0]["pair"])
    assert faulthandler.is_enabled()
    attempt.end()
    attempt.end()
    assert faulthandler.is_enabled() == before or not before


def test_a_record_that_cannot_be_written_or_read_is_none(table) -> None:
    dataset = pair_dataset("out", pairs=table)
    record_file(Path("out"), "one").mkdir()
    Attempt(Path("out"), dataset.data[0]["pair"]).end()
    assert order(pair_dataset("out", pairs=table)) == ["one", "two", "three"]
    record_file(Path("out"), "one").rmdir()
    record_file(Path("out"), "one").write_text("no record")
    assert order(pair_dataset("out", pairs=table)) == ["one", "two", "three"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "skipped"), [(signal.SIGABRT, True), (signal.SIGSEGV, True), (signal.SIGKILL, False)]
)
def test_a_process_that_dies_leaves_the_record_by_which_the_next_run_knows(table, number, skipped) -> None:
    assert die(table, "two", number) == -number
    assert [file.name for file in Path("out").glob(".*.attempt")] == [".two.attempt"]
    dataset = pair_dataset("out", pairs=table)
    assert order(dataset)[-1] == "two"
    assert list(dataset.refused) == (["two"] if skipped else [])
    assert os.listdir("out").count(".two.attempt") == 1
