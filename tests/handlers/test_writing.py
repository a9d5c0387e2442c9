"""The handlers with a fake inferer: what lands on disk and on the console."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from monai.transforms import Compose
from scipy.ndimage import gaussian_filter

from custom_components.engines import PairEvaluator, pair_dataset
from custom_components.handlers import RegistrationWriter, SummaryWriter
from custom_components.handlers.writing import format_line
from custom_components.inferers.result import PairImages, Registration, Stage
from custom_components.matching.point_pairs import PointPairs
from custom_components.pairs import read_image, write_image, write_points
from custom_components.transforms import CommonPadd, ReadPaird, StainGreyd, WorkingSized

MARKS = np.array([[20.0, 30.0], [40.0, 50.0], [30.0, 60.0]])


def identity(images: PairImages) -> Registration:
    """An inferer that leaves everything where it is."""
    field = torch.zeros(1, 2, *images.shape)
    stage = Stage("nothing", 0.1, {"similarity": 0.9})
    return Registration(field, field, PointPairs.empty(), PointPairs.empty(), (stage,))


def run(table: Path, output_dir: Path, *, submission: bool = False, **options) -> PairEvaluator:
    keys = ["moving", "fixed"]
    prepare = Compose([ReadPaird(), WorkingSized(keys, 96), StainGreyd(keys), CommonPadd(keys)])
    handlers = [RegistrationWriter(output_dir, report=False), SummaryWriter(output_dir, submission)]
    evaluator = PairEvaluator(pair_dataset(output_dir, pairs=table, **options), prepare, identity, handlers=handlers)
    evaluator.run()
    return evaluator


@pytest.fixture
def folder(tmp_path):
    """Images, landmarks, a landmark file that has a row too many, and one without coordinates."""
    tissue = np.full((3, 64, 96), 240, np.uint8)
    noise = gaussian_filter(np.random.default_rng(0).random((40, 70)), 2)
    tissue[:, 12:52, 12:82] = (60 + 100 * (noise - noise.min()) / np.ptp(noise)).astype(np.uint8)
    write_image(tmp_path / "a.png", tissue)
    write_image(tmp_path / "b.png", tissue)
    write_points(tmp_path / "marks.csv", MARKS)
    write_points(tmp_path / "more.csv", np.vstack([MARKS, MARKS[:1]]))
    (tmp_path / "wrong.csv").write_text("row,col\n1,2\n")
    return tmp_path


def markdown_table(folder: Path, *rows: str) -> Path:
    path = folder / "pairs.csv"
    path.write_text("\n".join(["id,moving,fixed,moving_landmarks,fixed_landmarks,status", *rows]) + "\n")
    return path


def table_rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as lines:
        return list(csv.DictReader(lines))


def test_each_pair_gets_a_folder_and_a_line_and_the_run_a_summary(folder, capsys):
    table = markdown_table(folder, "one,a.png,b.png,marks.csv,marks.csv,training", "two,b.png,a.png,,,training")
    run(table, folder / "out")
    names = {path.name for path in (folder / "out").iterdir()}
    assert names == {"one", "two", "summary.csv", "summary.json", "index.html"}
    said = capsys.readouterr().out
    assert "[1/2] one: ok, typical error" in said
    assert "mean rTRE 0.00000 -> 0.00000" in said
    assert "2 pairs: 2 ok, 0 poor, 0 failed" in said
    assert "AArTRE 0.00000" in said


def test_identity_field_leaves_image_and_landmarks_where_they_are(folder):
    run(markdown_table(folder, "one,a.png,b.png,marks.csv,marks.csv,"), folder / "out")
    metrics = json.loads((folder / "out" / "one" / "metrics.json").read_text())
    assert metrics["landmarks"]["mean"] == pytest.approx(0, abs=1e-7)
    assert metrics["seconds"]["total"] > 0
    warped, moving = (read_image(path).numpy() for path in (folder / "out" / "one" / "warped.png", folder / "a.png"))
    np.testing.assert_allclose(warped.astype(int), moving.astype(int), atol=1)


def test_landmarks_that_do_not_fit_fail_their_pair_alone(folder, capsys):
    table = markdown_table(folder, "bad,a.png,b.png,marks.csv,wrong.csv,", "good,a.png,b.png,marks.csv,marks.csv,")
    run(table, folder / "out")
    bad = json.loads((folder / "out" / "bad" / "metrics.json").read_text())
    assert bad["status"] == "failed"
    assert "wrong.csv need columns X and Y, found row, col" in bad["reason"]
    assert {row["id"]: row["status"] for row in table_rows(folder / "out" / "summary.csv")} == {
        "bad": "failed",
        "good": "ok",
    }
    assert "[1/2] bad: failed:" in capsys.readouterr().out


def test_of_more_landmarks_the_common_ones_are_measured_and_a_note_says_so(folder):
    run(markdown_table(folder, "one,a.png,b.png,marks.csv,more.csv,"), folder / "out")
    metrics = json.loads((folder / "out" / "one" / "metrics.json").read_text())
    assert (metrics["status"], metrics["landmarks"]["max"]) == ("ok", 0)
    assert "marks.csv has 3 landmarks, more.csv has 4; row i of both is taken for one landmark" in metrics["notes"][0]


def test_an_unexpected_error_while_writing_fails_the_pair_and_not_the_run(folder, monkeypatch):
    def stumble(*args, **kwargs):
        raise RuntimeError("the field could not be stored")

    table = markdown_table(folder, "one,a.png,b.png,,,", "two,a.png,b.png,,,")
    monkeypatch.setattr("custom_components.outputs.writer.write_displacement", stumble)
    with pytest.raises(SystemExit, match=r"a\.png onto b\.png: unexpected RuntimeError: the field could"):
        run(table, folder / "out")
    assert [row["status"] for row in table_rows(folder / "out" / "summary.csv")] == ["failed", "failed"]
    assert sorted(path.name for path in (folder / "out" / "one").iterdir()) == ["metrics.json", "report.html"]


def test_a_folder_that_vanishes_during_the_run_leaves_the_reason_on_the_console(folder, capsys, monkeypatch):
    table = markdown_table(folder, "one,a.png,b.png,,,")
    real = PairEvaluator._register

    def spoil(self, engine, batch):
        outcome = real(self, engine, batch)
        shutil.rmtree(folder / "out")
        (folder / "out").write_text("a file now")
        return outcome

    monkeypatch.setattr(PairEvaluator, "_register", spoil)
    with pytest.raises(SystemExit, match=r"error: one: output folder .* can't be written"):
        run(table, folder / "out")
    assert "[1/1] one: failed: output folder" in capsys.readouterr().out


def test_submission_lists_every_pair_of_the_table_also_those_of_an_earlier_run(folder):
    table = markdown_table(folder, "one,a.png,b.png,marks.csv,marks.csv,training")
    run(table, folder / "out")
    table = markdown_table(
        folder, "one,a.png,b.png,marks.csv,marks.csv,training", "two,b.png,a.png,marks.csv,marks.csv,evaluation"
    )
    run(table, folder / "out", submission=True)
    rows = table_rows(folder / "out" / "submission" / "registration-results.csv")
    assert [row["Warped source landmarks"] for row in rows] == ["landmarks/one.csv", "landmarks/two.csv"]
    assert [row["status"] for row in rows] == ["training", "evaluation"]
    # a third run finds everything done and still writes what was asked for
    (folder / "out" / "summary.csv").unlink()
    evaluator = run(table, folder / "out", submission=True)
    assert evaluator.outcomes == []
    assert len(table_rows(folder / "out" / "summary.csv")) == 2
    assert len(table_rows(folder / "out" / "submission" / "registration-results.csv")) == 2


def test_line_of_a_poor_pair_says_why():
    metrics = {
        "id": "p", "status": "poor", "reason": "only 3 consistent matches", "matches": 3, "seconds": {"total": 1.25},
    }  # fmt: skip
    assert format_line(metrics) == "p: poor, 3 matches, 1.2 s (only 3 consistent matches)"
    assert format_line({"id": "p", "status": "failed", "reason": "no tissue"}) == "p: failed: no tissue"
