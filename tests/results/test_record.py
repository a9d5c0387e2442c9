"""metrics.json read by itself, and what is said where there is none."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from custom_components.common.errors import InputError
from custom_components.results.record import find_metrics, metrics_in, read_metrics


def write(folder, **metrics):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "metrics.json").write_text(json.dumps(metrics))


def test_a_record_is_read_that_of_a_failure_too(tmp_path):
    write(tmp_path / "a", id="a", status="failed", reason="too few matches")
    wanted = {"id": "a", "status": "failed", "reason": "too few matches"}
    assert read_metrics(tmp_path / "a") == read_metrics(str(tmp_path / "a"), missing_ok=True) == wanted
    assert find_metrics(tmp_path / "a") == wanted


def test_a_missing_record_is_an_error_with_the_way_out_unless_it_may_be_missing(tmp_path):
    with pytest.raises(InputError, match=r"gone does not exist; give the folder of one pair"):
        read_metrics(tmp_path / "gone")
    with pytest.raises(InputError, match=r"holds no metrics\.json of a registration; give the folder of one pair"):
        read_metrics(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"file is not a folder"):
        read_metrics(tmp_path / "file")
    (tmp_path / "displacement.mha").touch()
    with pytest.raises(InputError, match=r"metrics\.json does not exist; keep it beside the displacement field"):
        read_metrics(tmp_path)
    assert read_metrics(tmp_path / "gone", missing_ok=True) == {}
    assert find_metrics(tmp_path / "gone") is None


def test_the_folder_of_a_run_is_told_by_its_pairs(tmp_path):
    write(tmp_path / "b", id="b")
    with pytest.raises(InputError, match=r"but the results of the pair b; give the folder of one pair, .*b$"):
        read_metrics(tmp_path)
    for name in "acdefghij":
        write(tmp_path / name, id=name)
    with pytest.raises(InputError, match=r"of 10 pairs \(a, b, c, d, e, f, g, h, \.\.\.\); give .*a$"):
        read_metrics(tmp_path)


@pytest.mark.parametrize("content", [b'{"status": "o', b"[1]", b"\xff\xfe\x00"])
def test_a_damaged_record_is_an_error_or_as_none(tmp_path, content):
    (tmp_path / "metrics.json").write_bytes(content)
    for missing_ok in (False, True):
        with pytest.raises(InputError, match=r"metrics\.json is damaged \(.*\); register the pair again"):
            read_metrics(tmp_path, missing_ok)
    assert find_metrics(tmp_path) is None


def test_unfinished_foreign_and_damaged_folders_are_no_pairs_of_a_run(tmp_path):
    for folder, name in (("b", "b"), ("a", "a"), (".c", ".c"), ("d", "e")):
        write(tmp_path / folder, id=name)
    write(tmp_path / "f")
    (tmp_path / "f" / "metrics.json").write_text("{")
    assert [metrics["id"] for metrics in metrics_in(tmp_path)] == ["a", "b"]


def test_a_record_alone_needs_no_tensors() -> None:
    heavy = ["numpy", "torch", "itk", "monai"]
    program = f"import sys, custom_components.results.record; print([m for m in {heavy} if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
