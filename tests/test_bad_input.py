"""What goes wrong with users' files: one message with the file and the reason, in a single run and in a cohort."""

from __future__ import annotations

import csv
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from monai.bundle import run
from PIL import Image
from skimage import data, transform

from custom_components.pairs import write_points

ROOT = Path(__file__).resolve().parents[1]
INFERENCE = "bundles/hybrid_matching/configs/inference.yaml"
MARKS = np.array([[60.0, 70.0], [120.0, 90.0], [180.0, 160.0]])
COLUMNS = ("moving", "fixed", "moving_landmarks", "fixed_landmarks")
GOOD = {"moving": "moving.png", "fixed": "fixed.png"}
# what a pair consists of, and how the reason reads; every case fails alone and as a row of one cohort
CASES: dict[str, tuple[dict[str, str], str]] = {
    "missing file": (
        {"moving": "absent.png", "fixed": "fixed.png"},
        r"moving image 'absent\.png' does not exist \(looked in .*\)",
    ),
    "missing landmarks": (
        {**GOOD, "moving_landmarks": "absent.csv", "fixed_landmarks": "marks.csv"},
        r"moving landmarks 'absent\.csv' does not exist \(looked in .*\)",
    ),
    "truncated JPEG": (
        {"moving": "cut.jpg", "fixed": "fixed.png"},
        r"image .*cut\.jpg can't be read, it may be damaged or cut off: .*truncated.*",
    ),
    "no image": ({"moving": "words.png", "fixed": "fixed.png"}, r"image .*words\.png can't be read.*"),
    "white image": ({"moving": "white.png", "fixed": "fixed.png"}, r".*white\.png is empty: all pixels.* 255.*"),
    "one pixel": (
        {"moving": "moving.png", "fixed": "pixel.png"},
        r"image .*pixel\.png is 1 x 1 pixels; sides below 32 can't be registered",
    ),
    "NaN pixels": (
        {"moving": "nan.tif", "fixed": "fixed.png"},
        r"image .*nan\.tif has 5 pixels that are NaN or infinite.*",
    ),
    "landmark counts": (
        {**GOOD, "moving_landmarks": "named.csv", "fixed_landmarks": "two_marks.csv"},
        r"named\.csv has 3 landmarks, two_marks\.csv has 2, and no name stands in both .*",
    ),
    "landmark columns": (
        {**GOOD, "moving_landmarks": "columns.csv", "fixed_landmarks": "marks.csv"},
        r"landmarks .*columns\.csv need columns X and Y, found row, col .*",
    ),
    "different tissues": (
        {"moving": "retina.png", "fixed": "colon.png"},
        r"retina\.png onto colon\.png: no consistent alignment.* Are both images of the same tissue\?.*",
    ),
}


def square(image: np.ndarray, side: int) -> np.ndarray:
    """The middle of an RGB image, ``side`` pixels wide, uint8."""
    edge = min(image.shape[:2])
    top, left = ((n - edge) // 2 for n in image.shape[:2])
    small = transform.resize(image[top : top + edge, left : left + edge], (side, side), anti_aliasing=True)
    return (small * 255).round().astype(np.uint8)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A pair that goes well, and every file that does not."""
    root = tmp_path_factory.mktemp("images")
    fixed = square(data.immunohistochemistry(), 256)
    turn = transform.AffineTransform(rotation=np.deg2rad(8), translation=(14, -8))
    moving = (transform.warp(fixed, turn.inverse, cval=0.93) * 255).round().astype(np.uint8)
    pictures = {"fixed": fixed, "moving": moving, "white": np.full_like(fixed, 255), "pixel": fixed[:1, :1],
                "retina": square(data.retina(), 512), "colon": square(data.immunohistochemistry(), 512)}  # fmt: skip
    for name, image in pictures.items():
        Image.fromarray(image).save(root / f"{name}.png")
    Image.fromarray(moving).save(root / "whole.jpg", quality=90)
    whole = (root / "whole.jpg").read_bytes()
    (root / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    (root / "words.png").write_text("no picture at all")
    holes = moving[..., 0].astype(np.float32)
    holes[100, 100:105] = np.nan
    tifffile.imwrite(root / "nan.tif", holes)
    write_points(root / "marks.csv", MARKS)
    write_points(root / "named.csv", MARKS, ["a", "b", "c"])
    write_points(root / "two_marks.csv", MARKS[:2], ["u", "v"])
    (root / "columns.csv").write_text("row,col\n1,2\n")
    return root


def register(output_dir: Path, **options) -> None:
    """The user's command, in this process."""
    run(config_file=INFERENCE, output_dir=str(output_dir), working_size=512, report=False, **options)


@pytest.fixture(autouse=True)
def _from_the_root(monkeypatch):
    monkeypatch.chdir(ROOT)


@pytest.fixture(scope="module")
def cohort(folder) -> Path:
    """Output folder of one run over all bad pairs with a good one before and after."""
    rows = {"first": GOOD, **{name: files for name, (files, _) in CASES.items()}, "last": GOOD}
    lines = [",".join(("id", *COLUMNS))]
    lines += [",".join((name, *(files.get(column, "") for column in COLUMNS))) for name, files in rows.items()]
    (folder / "pairs.csv").write_text("\n".join(lines) + "\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        register(folder / "cohort", pairs=str(folder / "pairs.csv"))  # ends without SystemExit: the good pairs are done
    return folder / "cohort"


def summary_of(output_dir: Path) -> dict[str, dict[str, str]]:
    with (output_dir / "summary.csv").open(newline="") as lines:
        return {row["id"]: row for row in csv.DictReader(lines)}


def nothing_half_written(output_dir: Path) -> bool:
    """Whether every folder of a pair is whole: it has a valid metrics.json, and nothing temporary lies about."""
    hidden = list(output_dir.rglob(".*"))
    states = [
        json.loads((path / "metrics.json").read_text())["status"] for path in output_dir.iterdir() if path.is_dir()
    ]
    return not hidden and set(states) <= {"ok", "poor", "failed"}


@pytest.mark.parametrize("name", CASES)
def test_alone_it_ends_with_one_line_that_names_file_and_reason(name, folder, tmp_path, capsys):
    files, reason = CASES[name]
    paths = {column: str(folder / file) for column, file in files.items()}
    with pytest.raises(SystemExit) as stopped:
        register(tmp_path / "out", id="pair", **paths)
    assert re.fullmatch(f"error: pair: {reason}", str(stopped.value.code)), stopped.value.code
    assert "Traceback" not in capsys.readouterr().out
    metrics = json.loads((tmp_path / "out" / "pair" / "metrics.json").read_text())
    assert metrics["status"] == "failed"
    assert re.fullmatch(reason, metrics["reason"])
    assert nothing_half_written(tmp_path / "out")
    assert not list((tmp_path / "out").rglob("warped*"))


@pytest.mark.parametrize("name", CASES)
def test_in_a_cohort_it_is_recorded_and_the_run_goes_on(name, cohort):
    row = summary_of(cohort)[name]
    assert row["status"] == "failed"
    where = r"(pairs\.csv row \d+: )?"  # where a file is missing, the table and its row are named too
    assert re.fullmatch(where + CASES[name][1], row["reason"]), row["reason"]


def test_good_pairs_of_that_cohort_are_done(cohort):
    output_dir = cohort
    rows = summary_of(output_dir)
    assert [name for name, row in rows.items() if row["status"] == "ok"] == ["first", "last"]
    assert (output_dir / "last" / "warped.png").is_file()
    summary = json.loads((output_dir / "summary.json").read_text())
    assert set(summary["failed_pairs"]) == set(CASES)
    assert nothing_half_written(output_dir)


def test_wrong_column_in_the_table_is_named_before_any_work(folder, tmp_path):
    (folder / "wrong.csv").write_text("id,source,fixed\none,moving.png,fixed.png\n")
    with pytest.raises(SystemExit) as stopped:
        register(tmp_path / "out", pairs=str(folder / "wrong.csv"))
    message = str(stopped.value.code)
    assert len(message.splitlines()) == 1
    assert re.match(r"error: pair table .*wrong\.csv has no column 'moving'; it has id, source, fixed", message)
    assert not (tmp_path / "out").exists()


def test_unwritable_folder_is_refused_before_any_work(folder, tmp_path):
    occupied = tmp_path / "occupied"
    occupied.write_text("a file, and root could write into any folder")
    start = time.perf_counter()
    with pytest.raises(SystemExit) as stopped:
        register(occupied / "out", **{side: str(folder / file) for side, file in GOOD.items()})
    assert re.fullmatch(
        r"error: output folder .*occupied/out can't be written \(Not a directory\); choose another output_dir",
        str(stopped.value.code),
    )
    assert time.perf_counter() - start < 5
    assert occupied.read_text().startswith("a file")


def test_neither_images_nor_a_table_is_said(tmp_path):
    with pytest.raises(SystemExit, match="error: give --moving IMAGE and --fixed IMAGE, or --pairs"):
        register(tmp_path / "out")


def command(*arguments: object) -> list[str]:
    options = ["--config_file", INFERENCE, "--working_size", "512", "--report", "false"]
    return [sys.executable, "-m", "monai.bundle", "run", *options, *map(str, arguments)]


def test_exit_code_of_the_command_is_one_and_its_error_one_line(folder, tmp_path):
    done = subprocess.run(
        command("--moving", folder / "cut.jpg", "--fixed", folder / "fixed.png", "--output_dir", tmp_path / "out"),
        cwd=ROOT, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    errors = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    assert len(errors) == 1
    assert "cut.jpg can't be read" in errors[0]
    assert "Traceback" not in done.stdout + done.stderr


def wait_for(what: Callable[[], bool], process: subprocess.Popen[bytes], seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert process.poll() is None, "the run ended before it could be killed"
        assert time.monotonic() < end
        time.sleep(0.002)


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["registering", "writing"])
def test_killed_in_the_middle_nothing_is_half_written_and_the_next_run_finishes(moment, folder, tmp_path):
    table, output_dir = folder / "three.csv", tmp_path / "out"
    names = ("one", "two", "three")
    table.write_text("id,moving,fixed\n" + "".join(f"{name},moving.png,fixed.png\n" for name in names))
    with subprocess.Popen(
        command("--pairs", table, "--output_dir", output_dir), cwd=ROOT, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL, env={**os.environ, "OMP_NUM_THREADS": "1"},
    ) as process:  # fmt: skip
        try:
            wait_for((output_dir / "one" / "metrics.json").is_file, process)
            if moment == "writing":
                wait_for(lambda: any(output_dir.glob(".two.*.partial")), process)
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait()
    assert process.returncode == -signal.SIGKILL
    whole = {path.name for path in output_dir.iterdir() if path.is_dir() and not path.name.startswith(".")}
    assert "one" in whole
    assert "three" not in whole
    for name in whole:
        files = {path.name for path in (output_dir / name).iterdir()}
        assert {"metrics.json", "warped.png", "displacement.mha", "inverse_displacement.mha"} <= files
    before = (output_dir / "one" / "metrics.json").stat().st_mtime_ns

    register(output_dir, pairs=str(table))
    assert (output_dir / "one" / "metrics.json").stat().st_mtime_ns == before
    assert {name: row["status"] for name, row in summary_of(output_dir).items()} == dict.fromkeys(names, "ok")
    assert nothing_half_written(output_dir)
