"""Nothing of the user's is touched: snapshots of all files before and after, and refusals before any work."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from monai.transforms import Compose

from custom_components.engines import PairEvaluator, pair_dataset
from custom_components.handlers import RegistrationWriter, SummaryWriter
from custom_components.inferers.result import PairImages, Registration
from custom_components.matching.point_pairs import PointPairs
from custom_components.outputs.pair_folder import FAILED_ATTEMPT
from custom_components.pairs import write_image
from custom_components.transforms import CommonPadd, ReadPaird, StainGreyd, WorkingSized


def identity(images: PairImages) -> Registration:
    field = torch.zeros(1, 2, *images.shape)
    return Registration(field, field, PointPairs.empty(), PointPairs.empty(), ())


def run(output_dir: Path, inferer=identity, submission=False, **options) -> None:
    keys = ["moving", "fixed"]
    prepare = Compose([ReadPaird(), WorkingSized(keys, 64), StainGreyd(keys), CommonPadd(keys)])
    handlers = [RegistrationWriter(output_dir, report=False), SummaryWriter(output_dir, submission)]
    PairEvaluator(pair_dataset(output_dir, **options), prepare, inferer, handlers=handlers).run()


def refuse(images: PairImages) -> Registration:
    raise RuntimeError("broken")


def snapshot(root: Path) -> dict[str, str]:
    """Digest of every file."""
    files = [file for file in sorted(root.rglob("*")) if file.is_file()]
    return {file.relative_to(root).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


@pytest.fixture
def case(tmp_path: Path) -> Path:
    """A folder a case, with slides and a clinician's notes."""
    square = np.full((3, 64, 80), 240, np.uint8)
    square[:, 20:44, 20:60] = np.random.default_rng(0).integers(40, 160, (3, 24, 40))
    for patient in ("A", "B"):
        folder = tmp_path / f"patient{patient}"
        folder.mkdir()
        for number, name in enumerate(("HE.png", "PAS.png")):
            write_image(folder / name, np.roll(square, number + 2 * (patient == "B"), axis=1))
        (folder / "notes.txt").write_text("mine")
    return tmp_path


def markdown_table(case: Path, *rows: str) -> Path:
    (case / "pairs.csv").write_text("\n".join(["id,moving,fixed", *rows]) + "\n")
    return case / "pairs.csv"


@pytest.mark.parametrize(
    ("row", "output_dir", "message"),
    [
        ("patientA,patientA/HE.png,patientA/PAS.png", ".", "lies in .*patientA, the folder that the result"),
        ("patientB,patientA/HE.png,patientA/PAS.png", ".", "patientB is not recognisable as an earlier result"),
        ("Summary.CSV,patientA/HE.png,patientA/PAS.png", "out", "'Summary.CSV' is the name of another output"),
        ("submission,patientA/HE.png,patientA/PAS.png", "out", "'submission' is the name of another output"),
        ("con.txt,patientA/HE.png,patientA/PAS.png", "out", "Windows keeps it for a device"),
    ],
)  # fmt: skip
def test_what_would_be_replaced_is_refused_before_any_work(case, row, output_dir, message):
    table = markdown_table(case, row)
    before = snapshot(case)
    with pytest.raises(SystemExit, match=message):
        run(case / output_dir, pairs=table)
    assert snapshot(case) == before


@pytest.mark.parametrize("name", ["summary.csv", "index.html", "summary.json"])
def test_a_users_file_with_the_name_of_a_summary_stays(case, name):
    table = markdown_table(case, "one,patientA/HE.png,patientA/PAS.png")
    (case / name).write_text("the ward's own")
    before = snapshot(case)
    with pytest.raises(SystemExit, match=f"{name} is not an earlier"):
        run(case, pairs=table)
    assert snapshot(case) == before


def test_a_users_folder_with_the_name_of_the_submission_stays(case):
    table = markdown_table(case, "one,patientA/HE.png,patientA/PAS.png")
    (case / "out" / "submission").mkdir(parents=True)
    (case / "out" / "submission" / "thesis.doc").write_text("mine")
    with pytest.raises(SystemExit, match="is not an earlier submission"):
        run(case / "out", pairs=table, submission=True)
    assert (case / "out" / "submission" / "thesis.doc").read_text() == "mine"
    assert not (case / "out" / "one").exists()


def test_all_commands_of_a_pair_leave_every_file_of_the_user(case):
    table = markdown_table(case, "one,patientA/HE.png,patientA/PAS.png")
    run(case / "out", pairs=table)
    for name in ("notes.txt", "warped_third.tif", "deeper/mask.png"):
        (case / "out" / "one" / name).parent.mkdir(exist_ok=True)
        (case / "out" / "one" / name).write_text(f"user's {name}")
    (case / "out" / "ideas.md").write_text("user's")
    before = {name: digest for name, digest in snapshot(case).items() if not name.startswith("out/")}
    run(case / "out", pairs=table, resume=False)
    with pytest.raises(SystemExit):
        run(case / "out", refuse, pairs=table, resume=False)
    run(case / "out", pairs=table, resume=False)
    after = snapshot(case)
    assert {name: digest for name, digest in after.items() if not name.startswith("out/")} == before
    for name in ("notes.txt", "warped_third.tif", "deeper/mask.png"):
        assert (case / "out" / "one" / name).read_text() == f"user's {name}"
    assert (case / "out" / "ideas.md").read_text() == "user's"
    assert not [name for name in after if "/." in name]


def test_another_patients_result_is_never_handed_out(case, capsys):
    first = markdown_table(case, "x,patientA/HE.png,patientA/PAS.png")
    run(case / "out", pairs=first)
    second = markdown_table(case, "x,patientB/HE.png,patientB/PAS.png")
    before = snapshot(case)
    with pytest.raises(SystemExit, match=r"holds the result of .*patientA.HE\.png, not of .*patientB.HE\.png"):
        run(case / "out", pairs=second)
    assert snapshot(case) == before


def test_a_pair_named_by_its_files_gets_a_name_of_its_own_and_resumes_under_it(case, capsys):
    pairs = [{side: case / f"patient{p}" / f"{stain}.png" for side, stain in SIDES} for p in "AB"]
    for pair in pairs:
        run(case / "out", **pair)
    names = {path.name for path in (case / "out").iterdir() if path.is_dir()}
    assert names == {"HE_to_PAS", "patientB_HE_to_PAS"}
    assert "this pair gets another name" in capsys.readouterr().out
    for pair in pairs:
        run(case / "out", **pair)
    said = capsys.readouterr().out
    assert said.count("1 of 1 pair is in") == 2
    stored = json.loads((case / "out" / "patientB_HE_to_PAS" / "metrics.json").read_text())
    assert stored["run"]["inputs"]["moving"]["path"] == str(case / "patientB" / "HE.png")


SIDES = (("moving", "HE"), ("fixed", "PAS"))


def test_a_changed_image_is_registered_again_and_the_line_says_so(case, capsys):
    table = markdown_table(case, "one,patientA/HE.png,patientA/PAS.png")
    run(case / "out", pairs=table)
    shutil.copyfile(case / "patientB" / "HE.png", case / "patientA" / "HE.png")
    run(case / "out", pairs=table)
    assert "one: done again in place of the result of" in capsys.readouterr().out


def test_a_repeat_that_fails_keeps_the_good_result_and_says_so(case, capsys):
    table = markdown_table(case, "one,patientA/HE.png,patientA/PAS.png")
    run(case / "out", pairs=table)
    good = snapshot(case / "out" / "one")
    capsys.readouterr()
    with pytest.raises(SystemExit, match="broken"):
        run(case / "out", refuse, pairs=table, resume=False)
    assert "(the earlier result is kept)" in capsys.readouterr().out
    kept = snapshot(case / "out" / "one")
    assert {name: kept[name] for name in good} == good
    assert set(kept) - set(good) == {FAILED_ATTEMPT}
    assert "broken" in json.loads((case / "out" / "summary.json").read_text())["failed_repeats"]["one"]
    run(case / "out", pairs=table, resume=False)
    assert not (case / "out" / "one" / FAILED_ATTEMPT).exists()


def test_a_run_that_can_not_write_its_summary_ends_with_one_line(case, monkeypatch):
    from custom_components.common.errors import InputError

    def full(output_dir):
        raise InputError(f"{output_dir}: can't be written (No space left on device)")

    table = markdown_table(case, "one,patientA/HE.png,patientA/PAS.png")
    monkeypatch.setattr("custom_components.handlers.writing.write_summary", full)
    with pytest.raises(SystemExit, match="No space left on device"):
        run(case / "out", pairs=table)
    assert (case / "out" / "one" / "metrics.json").is_file()
