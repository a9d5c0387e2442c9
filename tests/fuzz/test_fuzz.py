"""Damaged files of every form are read, or refused by name; ``make fuzz`` goes on for longer."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from custom_components.common.errors import InputError
from tests.fuzz.__main__ import fuzzed
from tests.fuzz.judge import Verdict, judged
from tests.fuzz.mutations import KINDS, damaged

FIXED = 40  # the first number of the damage done in the fast tests
pytestmark = pytest.mark.filterwarnings("default")  # of libraries, about what is damaged


@pytest.fixture
def file(tmp_path) -> Path:
    path = tmp_path / "a.txt"
    path.write_text("a")
    return path


def verdict(file: Path, work) -> Verdict:
    return next(iter(judged([file], work)))


def test_damage_is_the_same_every_time_and_of_every_kind() -> None:
    data = bytes(range(256)) * 4
    assert [damaged(data, seed) for seed in range(20)] == [damaged(data, seed) for seed in range(20)]
    assert {damaged(data, seed)[0] for seed in range(len(KINDS))} == {kind.__name__ for kind in KINDS}


def raises(error: Exception):
    def work(file: Path) -> None:
        raise error

    return work


def test_the_judge_tells_endings_apart(file) -> None:
    assert verdict(file, lambda path: None).faults == []
    assert verdict(file, raises(InputError(f"{file} is none"))).ending == "refused"
    assert verdict(file, raises(InputError("this is none"))).ending == "unnamed"
    raw = verdict(file, raises(ZeroDivisionError("by zero")))
    assert (raw.ending, raw.faults) == ("raw", ["raw: builtins.ZeroDivisionError: by zero"])


def test_the_judge_goes_on_after_a_process_that_died(file) -> None:
    def work(path: Path) -> None:
        if path.name == "b.txt":
            os.abort()

    file.with_name("b.txt").write_text("b")
    assert [v.ending for v in judged([file, file.with_name("b.txt"), file], work)] == ["read", "aborted", "read"]


def test_the_judge_sees_other_files_and_memory(file, tmp_path_factory, monkeypatch) -> None:
    monkeypatch.setattr("tests.fuzz.judge.MEGABYTES", 100.0)
    other = tmp_path_factory.mktemp("elsewhere") / "secret.txt"
    other.write_text("secret")

    def work(path: Path) -> None:
        other.read_text()
        bytearray(150 << 20)

    found = verdict(file, work)
    assert found.opened == [str(other)]
    assert found.megabytes > 140
    assert len(found.faults) == 2


def test_damaged_files_of_every_form() -> None:
    endings, faults = fuzzed(60, 2, FIXED)
    assert not faults, "\n".join(faults)
    assert len(endings) > 40
    assert sum(counts["refused"] for counts in endings.values()) > len(endings)


def test_hostile_files(shared_cases) -> None:
    files = sorted((shared_cases / "hostile").iterdir())
    found = dict(zip([file.name for file in files], judged(files), strict=True))
    assert {name: verdict.faults for name, verdict in found.items() if verdict.faults} == {}
    read = {name for name, verdict in found.items() if verdict.ending == "read"}
    assert read == {"1_0_flip__v.nii", "1_6_zero__pyr.ome.tif"}  # whose damage lies in pixels
