"""A registration as JSON: what is wrong is told at once, and in words that name no folder."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

from custom_components.pairs import write_image
from custom_components.serving import RequestError, RunError, job_key, make_job
from custom_components.serving.jobs import run_job


@pytest.fixture
def studies(tmp_path) -> Path:
    folder = tmp_path / "studies"
    folder.mkdir()
    for name, grey in (("moving", 10), ("fixed", 90)):
        write_image(folder / f"{name}.png", np.full((3, 40, 40), grey, np.uint8))
    return folder


def job(studies: Path, given: dict | None = None, **options: object) -> dict:
    return make_job(
        "hybrid_matching", studies / "moving.png", studies / "fixed.png", "moving_to_fixed", options, given or {},
        studies, studies.parent / "results", follow_links=False, viewer=False, url="/registrations/x",
    )  # fmt: skip


def test_a_job_is_json_and_its_key_that_of_what_is_done(studies):
    first = job(studies, {"points": [[1, 2]], "fixed": "fixed"}, working_size=256)
    assert json.loads(json.dumps(first)) == first
    assert first["attached"] == {"points": [[1, 2]]}
    assert job_key(first) == job_key(job(studies, {"points": [[1, 2]]}, working_size=256))
    assert job_key(first) != job_key(job(studies, {"points": [[1, 3]]}, working_size=256))
    assert job_key(first) != job_key(job(studies, {"points": [[1, 2]]}, working_size=128))
    os.utime(studies / "moving.png", (1, 1))  # another file of the same name
    assert job_key(first) != job_key(job(studies, {"points": [[1, 2]]})) != ""
    assert job_key(first) == job_key(job(studies, {"points": [[1, 2]]}, working_size=256))


def test_wrong_points_are_told_before_anything_waits(studies):
    with pytest.raises(RequestError, match=r"^points: are \[\[x, y\]"):
        job(studies, {"points": [1]})


def test_an_image_that_can_not_be_read_is_told_without_its_folder(studies):
    (studies / "moving.png").write_bytes(b"words")
    with pytest.raises(RunError, match=r"^image: image moving\.png can't be read") as refused:
        run_job(job(studies))
    assert refused.value.status == 422
    assert str(studies.parent) not in str(refused.value)


def test_results_that_can_not_be_written_are_the_server_s_fault(studies):
    (studies.parent / "results").write_text("a file")
    with pytest.raises(RunError) as refused:
        run_job(job(studies))
    assert refused.value.status == 507
    assert str(studies.parent) not in str(refused.value)


@pytest.mark.slow
def test_the_answer_has_results_and_no_folders(studies):
    for seed, name in enumerate(("moving", "fixed")):
        noise = np.random.default_rng(seed).integers(0, 256, (3, 64, 64), np.uint8)
        write_image(studies / f"{name}.png", noise)
    answer = run_job(job(studies, working_size=64, report=False))
    assert answer["result"]["model"] == "hybrid_matching"
    assert answer["result"]["status"] in ("poor", "failed")
    assert answer["result"]["reason"]
    assert answer["latencies"]["total"] > 0
    assert str(studies.parent) not in json.dumps(answer)
