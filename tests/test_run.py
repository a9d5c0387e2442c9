"""The user's commands from images to files: one pair, a cohort, an evaluation, the demo."""

from __future__ import annotations

import csv
import json
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
from monai.bundle import run
from PIL import Image
from skimage import color, data, transform

from custom_components.commands.apply import apply
from custom_components.pairs import read_geojson, read_image, read_points, write_points

ROOT = Path(__file__).resolve().parents[1]
CONFIGS = "bundles/hybrid_matching/configs"
SIDE = 256
MARKS = np.stack(np.meshgrid(np.linspace(60, 200, 5), np.linspace(60, 200, 5), indexing="ij"), -1).reshape(-1, 2)
KEYS = {
    "id", "status", "reason", "unit", "moving", "fixed", "stages", "matches", "dropped", "residual_median",
    "inverse_error", "folding_share", "seconds", "landmarks", "versions", "moving_grid", "fixed_grid",
}  # fmt: skip
FILES = {
    "warped.png", "displacement.mha", "inverse_displacement.mha", "error_estimate.mha", "transform.h5",
    "warped_landmarks.csv", "warped_region.geojson", "metrics.json", "report.html", "thumbnail.jpg",
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """The real section, and two more stainings made of it: both turned and shifted by a known transform."""
    root = tmp_path_factory.mktemp("images")
    fixed = transform.resize(data.immunohistochemistry(), (SIDE, SIDE), anti_aliasing=True)
    stains = color.rgb2hed(fixed)
    stains[..., 1:] *= 0.3  # most of the brown gone, as in another stain of a like section
    other = np.clip(color.hed2rgb(stains), 0, 1)
    Image.fromarray((fixed * 255).round().astype(np.uint8)).save(root / "fixed.png")
    write_points(root / "fixed.csv", MARKS)
    for name, degrees in (("slight", 8), ("turned", 25)):
        middle = (SIDE - 1) / 2
        about = transform.AffineTransform(translation=(-middle, -middle))
        turn = transform.AffineTransform(rotation=np.deg2rad(degrees), translation=(middle + 9, middle - 6))
        there = about + turn  # fixed x, y -> moving x, y
        image = transform.warp(other, there.inverse, cval=1.0)
        Image.fromarray((image * 255).round().astype(np.uint8)).save(root / f"{name}.png")
        write_points(root / f"{name}.csv", there(MARKS[:, ::-1])[:, ::-1])
    ring = [[90.0, 90.0], [150.0, 95.0], [140.0, 160.0], [90.0, 90.0]]
    region = {"type": "Feature", "id": "r1", "properties": {"name": "crypt"},
              "geometry": {"type": "Polygon", "coordinates": [ring]}}  # fmt: skip
    (root / "region.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": [region]}))
    header = "id,moving,fixed,moving_landmarks,fixed_landmarks,moving_annotations,status\n"
    rows = [f"{name},{name}.png,fixed.png,{name}.csv,fixed.csv,,{status}\n"
            for name, status in (("slight", "training"), ("turned", "evaluation"))]  # fmt: skip
    (root / "pairs.csv").write_text(header + "".join(rows))
    return root


@pytest.fixture(autouse=True)
def _from_the_root(monkeypatch):
    monkeypatch.chdir(ROOT)


def register(config: str, output_dir: Path, **options) -> None:
    run(config_file=f"{CONFIGS}/{config}.yaml", output_dir=str(output_dir), working_size=SIDE, **options)


@pytest.fixture(scope="module")
def single(folder) -> Path:
    """The folder of one pair registered with everything that may go with it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        register(
            "inference", folder / "single", moving=str(folder / "slight.png"), fixed=str(folder / "fixed.png"),
            moving_landmarks=str(folder / "slight.csv"), fixed_landmarks=str(folder / "fixed.csv"),
            moving_annotations=str(folder / "region.geojson"), note="made of one section",
        )  # fmt: skip
    return folder / "single" / "slight_to_fixed"


@pytest.fixture(scope="module")
def cohort(folder) -> Path:
    """The output folder of an evaluation of the table."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        register("evaluate", folder / "cohort", pairs=str(folder / "pairs.csv"), report=False)
    return folder / "cohort"


def metrics_of(pair: Path) -> dict:
    return json.loads((pair / "metrics.json").read_text())


def table_rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as lines:
        return list(csv.DictReader(lines))


def test_single_pair_leaves_the_files_of_the_contract(single):
    assert {path.name for path in single.iterdir()} == FILES
    assert {path.name for path in single.parent.iterdir()} == {single.name, "summary.csv", "summary.json", "index.html"}


def test_its_metrics_hold_the_agreed_keys(single):
    metrics = metrics_of(single)
    assert set(metrics) >= KEYS
    assert (metrics["status"], metrics["reason"], metrics["note"]) == ("ok", "", "made of one section")
    assert metrics["matches"] > 100
    assert metrics["folding_share"] < 0.001
    assert metrics["inverse_error"]["median"] < 0.1
    assert all(stage["seconds"] >= 0 for stage in metrics["stages"].values())
    assert sum(stage["seconds"] for stage in metrics["stages"].values()) <= metrics["seconds"]["total"]


def test_its_landmarks_come_to_within_a_pixel(single, folder):
    marks = metrics_of(single)["landmarks"]
    diagonal = np.hypot(SIDE, SIDE)
    assert marks["count"] == len(MARKS)
    assert marks["initial_mean"] * diagonal > 8
    assert marks["mean"] * diagonal < 1
    assert marks["robustness"] == 1
    warped = read_points(single / "warped_landmarks.csv")
    errors = np.linalg.norm(warped - read_points(folder / "fixed.csv"), axis=1)
    assert errors.mean() == pytest.approx(marks["mean"] * diagonal)


def test_its_image_lies_on_the_fixed_one(single, folder):
    warped, moving, fixed = (
        read_image(path).numpy().astype(float).mean(axis=0)[60:200, 60:200]
        for path in (single / "warped.png", folder / "slight.png", folder / "fixed.png")
    )
    before, after = (np.corrcoef(image.ravel(), fixed.ravel())[0, 1] for image in (moving, warped))
    assert after > before + 0.2
    assert after > 0.6


def test_its_annotation_is_carried_by_the_stored_inverse_field(single, folder):
    (moved,) = read_geojson(single / "warped_region.geojson")["features"]
    assert (moved["id"], moved["properties"]["name"]) == ("r1", "crypt")
    assert 0 < moved["properties"]["expected_error"] <= moved["properties"]["largest_expected_error"]
    # GeoJSON begins at the outer corner of the first pixel, points at its centre
    corners = np.array(moved["geometry"]["coordinates"][0])[:, ::-1] - 0.5
    # there and back through the other stored field, by the command for anything else
    write_points(folder / "corners.csv", corners)
    back = apply(
        str(single / "displacement.mha"), points=str(folder / "corners.csv"), direction="fixed_to_moving",
        output=str(folder / "back.csv"),
    )  # fmt: skip
    assert np.linalg.norm(read_points(back) + 0.5 - [90, 90], axis=1).min() < 0.1


def test_a_second_run_passes_over_what_is_done(single, folder, capsys):
    before = (single / "metrics.json").stat().st_mtime_ns
    register(
        "inference", folder / "single", moving=str(folder / "slight.png"), fixed=str(folder / "fixed.png"),
        moving_landmarks=str(folder / "slight.csv"), fixed_landmarks=str(folder / "fixed.csv"),
        moving_annotations=str(folder / "region.geojson"), report=False,
    )  # fmt: skip
    assert "1 of 1 pair is in" in capsys.readouterr().out
    assert (single / "metrics.json").stat().st_mtime_ns == before
    assert (single / "report.html").is_file()


def test_evaluation_scores_every_pair_and_all_together(cohort):
    rows = {row["id"]: row for row in table_rows(cohort / "summary.csv")}
    assert {name: row["status"] for name, row in rows.items()} == {"slight": "ok", "turned": "ok"}
    for row in rows.values():
        assert float(row["rTRE_mean"]) < 0.003 < float(row["rTRE_initial_mean"])
    scored = json.loads((cohort / "summary.json").read_text())["scored"]
    means = [metrics_of(cohort / name)["landmarks"]["mean"] for name in rows]
    assert scored["AArTRE"] == pytest.approx(np.mean(means))
    assert scored["robustness"] == 1
    assert scored["pairs"] == 2


def test_evaluation_writes_the_submission_of_the_challenge(cohort):
    rows = table_rows(cohort / "submission" / "registration-results.csv")
    assert [row["Source image"] for row in rows] == ["slight.png", "turned.png"]
    assert [row["Target image"] for row in rows] == ["fixed.png", "fixed.png"]
    assert [row["status"] for row in rows] == ["training", "evaluation"]
    for row in rows:
        carried = read_points(cohort / "submission" / row["Warped source landmarks"])
        assert np.linalg.norm(carried - MARKS, axis=1).mean() < 1
        assert float(row["Execution time [minutes]"]) > 0


def test_only_rows_of_a_status_are_taken_and_failed_pairs_are_tried_again(cohort, folder, capsys):
    output_dir = folder / "again"
    (output_dir / "slight").mkdir(parents=True)
    (output_dir / "slight" / "metrics.json").write_text('{"id": "slight", "status": "failed"}')
    register("inference", output_dir, pairs=str(folder / "pairs.csv"), status="training", report=False)
    assert {path.name for path in output_dir.iterdir() if path.is_dir()} == {"slight"}
    assert metrics_of(output_dir / "slight")["status"] == "ok"
    assert "[1/1] slight: ok" in capsys.readouterr().out
    # the same images and seed: the same field, in another run
    first, second = (metrics_of(root / "slight")["landmarks"]["mean"] for root in (cohort, output_dir))
    assert first == pytest.approx(second, rel=0.05)


def demo(*arguments: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["demo", *arguments])
    runpy.run_module("custom_components.commands.demo", run_name="__main__")


@pytest.mark.slow
def test_demo_registers_the_pairs_that_come_with_it_and_says_what_they_are(tmp_path, monkeypatch, capsys):
    demo("--output_dir", str(tmp_path), monkeypatch=monkeypatch)
    said = capsys.readouterr().out
    assert "rTRE (error of" in said
    assert f"look at {tmp_path / 'demo' / 'report.html'}" in said
    marks = metrics_of(tmp_path / "demo")["landmarks"]
    assert marks["mean"] < 0.2 * marks["initial_mean"]
    page = (tmp_path / "demo" / "report.html").read_text()
    assert "Half real, half made" in page
    assert marks["max"] < 0.0035
    stains = metrics_of(tmp_path / "kidney")
    assert stains["status"] == "ok"
    assert stains["landmarks"]["mean"] < 0.005  # before .0199; people differ by about .003
    assert "sections of a rat kidney" in (tmp_path / "kidney" / "report.html").read_text()
    assert (tmp_path / "demo" / "warped_moving_annotations.geojson").is_file()


@pytest.mark.slow
def test_demo_takes_two_images_of_the_user(folder, tmp_path, monkeypatch, capsys):
    images = ["--moving", str(folder / "slight.png"), "--fixed", str(folder / "fixed.png")]
    demo("--output_dir", str(tmp_path), *images, monkeypatch=monkeypatch)
    assert "rTRE" not in capsys.readouterr().out
    assert metrics_of(tmp_path / "slight_to_fixed")["status"] == "ok"
    assert not (tmp_path / "demo_pair").exists()


def test_demo_wants_both_images_or_none(tmp_path, monkeypatch):
    with pytest.raises(SystemExit, match="give both --moving and --fixed, or neither"):
        demo("--output_dir", str(tmp_path), "--moving", "a.png", monkeypatch=monkeypatch)
    assert not list(tmp_path.iterdir())
