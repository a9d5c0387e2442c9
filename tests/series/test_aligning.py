"""A whole series with a bad section, by a quick registration: results, record, resumption, and the command line."""

from __future__ import annotations

import csv
import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile

from custom_components.common.errors import InputError
from custom_components.pairs import read_image, read_points
from custom_components.series import align_series
from custom_components.series.__main__ import main

MIDDLE = {"reference": "b"}


def align(known, root, **options):
    return align_series(known.table, known.config, root, **{**MIDDLE, **options})


@pytest.fixture(scope="module")
def done(known, repository, tmp_path_factory):
    """(folder, record) of the series by its neighbours."""
    root = tmp_path_factory.mktemp("series") / "out"
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(repository)
        return root, align(known, root, mode="neighbours", stack=True)


def table_rows(record):
    return {row["id"]: row for row in record["sections"]}


def test_the_empty_section_is_reported_and_bridged(done):
    root, record = done
    rows = table_rows(record)
    assert {name: row["status"] for name, row in rows.items()} == {
        "a": "ok", "b": "ok", "blank": "failed", "c": "ok", "d": "ok",
    }  # fmt: skip
    assert rows["blank"]["reason"].count("blank.png is empty") == 1
    assert [rows[name]["path"] for name in ("a", "b", "blank", "c", "d")] == [
        ["b", "a"], ["b"], [], ["b", "c"], ["b", "c", "d"],
    ]  # fmt: skip
    assert json.loads((root / "blank" / "metrics.json").read_text())["status"] == "failed"
    assert (root / "blank" / "report.html").is_file()
    assert (record["reference"], record["ok"], record["poor"], record["failed"]) == ("b", 4, 0, 1)


def test_every_section_lies_in_the_frame_of_the_reference(done, known):
    root, record = done
    shape = read_image(known.root / "b.png").shape
    for name in "abcd":
        assert read_image(root / name / "warped.png").shape == shape
        error = np.linalg.norm(read_points(root / name / "warped_landmarks.csv") - known.places("b"), axis=1)
        assert error.mean() < 1
        start = np.linalg.norm(known.places(name) - known.places("b"), axis=1)
        assert name == "b" or start.mean() > 2.5
    assert (read_image(root / "b" / "warped.png") == read_image(known.root / "b.png")).all()
    assert record["scored"]["pairs"] == 3
    assert table_rows(record)["d"]["rTRE_mean"] < 0.25 * table_rows(record)["d"]["rTRE_initial_mean"]
    assert (root / "d" / "warped_d.geojson").is_file()


def test_the_record_says_by_which_pairs_each_section_came(done):
    root, record = done
    assert json.loads((root / "series.json").read_text()) == record
    with (root / "series.csv").open(newline="") as lines:
        assert [row["path"] for row in csv.DictReader(lines)] == ["b > a", "b", "", "b > c", "b > c > d"]
    folders = [pair["folder"] for pair in record["pairs"] if pair["status"] == "ok"]
    assert folders == ["c_to_b", "d_to_c", "a_to_b"]
    assert all((root / "pairs" / folder / "displacement.mha").is_file() for folder in folders)
    metrics = json.loads((root / "d" / "metrics.json").read_text())
    assert list(metrics["stages"]) == ["c onto b", "d onto c", "composition"]
    assert "over c" in metrics["note"]
    page = (root / "index.html").read_text()
    for word in ("blank.png is empty", "d/preview.jpg", "pairs/blank_to_b/report.html", "4 ok, 0 poor, 1 failed"):
        assert word in page


def test_the_stack_has_the_sections_that_have_a_result(done):
    root, _ = done
    with tifffile.TiffFile(root / "stack.ome.tif") as tiff:
        channels = tifffile.xml2dict(tiff.ome_metadata)["OME"]["Image"]["Pixels"]["Channel"]
        planes = tiff.asarray()
    assert [channel["Name"] for channel in channels] == ["a", "b", "c", "d"]
    assert planes.shape == (4, 320, 313)
    inner = planes[:, 80:-80, 80:-80].reshape(4, -1)
    assert np.corrcoef(inner).min() > 0.6


def test_nothing_half_written_is_left(done):
    root, _ = done
    assert not [path for path in root.rglob("*") if path.name.startswith(".")]


def times(root: Path) -> dict[str, int]:
    return {str(file.relative_to(root)): file.stat().st_mtime_ns for file in root.glob("**/metrics.json")}


def test_a_second_run_does_only_what_is_missing(done, known, tmp_path, capsys):
    root = Path(shutil.copytree(done[0], tmp_path / "out"))
    before = times(root)
    align(known, root, mode="neighbours")
    after = times(root)
    assert {name for name in before if before[name] != after[name] and "blank" not in name} == set()
    shutil.rmtree(root / "c")
    shutil.rmtree(root / "pairs" / "d_to_c")
    record = align(known, root, mode="neighbours")
    again = times(root)
    changed = {name for name in again if again[name] != after[name] and "blank" not in name}
    assert changed == {"c/metrics.json", "d/metrics.json", "pairs/d_to_c/metrics.json"}
    assert record["ok"] == 4


def test_another_reference_takes_other_paths_in_the_same_folder(done, known, tmp_path):
    root = Path(shutil.copytree(done[0], tmp_path / "out"))
    record = align(known, root, mode="neighbours", reference="c")
    assert table_rows(record)["a"]["path"] == ["c", "b", "a"]
    error = np.linalg.norm(read_points(root / "a" / "warped_landmarks.csv") - known.places("c"), axis=1)
    assert error.mean() < 1


def test_other_settings_are_refused_in_a_folder_with_results(done, known):
    with pytest.raises(InputError, match=r"registered with other settings.*--resume false"):
        align(known, done[0], mode="neighbours", least_size=300)


def test_the_same_images_give_the_same_fields(done, known, tmp_path):
    align(known, tmp_path, mode="neighbours")
    for name in "acd":
        first, second = (read_points(root / name / "warped_landmarks.csv") for root in (done[0], tmp_path))
        assert (first == second).all()


@pytest.mark.parametrize("mode", ["all_to_one", "both", "all_pairs"])
def test_other_modes_align_the_good_sections_too(known, tmp_path, mode):
    record = align(known, tmp_path, mode=mode)
    assert [row["status"] for row in record["sections"]] == ["ok", "ok", "failed", "ok", "ok"]
    assert record["scored"]["AArTRE"] < 0.002
    rows = table_rows(record)
    if mode == "all_to_one":
        assert all(len(rows[name]["path"]) == 2 for name in "acd")
        assert rows["d"]["disagreement"] is None
    else:  # d is reached directly and over c, and both agree
        assert 0 < rows["d"]["disagreement"] < 1.5


def test_a_bad_reference_is_said_with_the_way_out(known, tmp_path):
    with pytest.raises(InputError, match=r"onto the reference 'blank'.*another with --reference"):
        align(known, tmp_path, reference="blank", mode="all_to_one")
    record = json.loads((tmp_path / "series.json").read_text())
    assert record["failed"] == 5
    assert (tmp_path / "index.html").is_file()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mode": "some"}, "--mode is neighbours, all_to_one, both or all_pairs, got 'some'"),
        ({"reach": 0}, "--reach is 1 or more, got 0"),
        ({"reference": "z"}, "id of a section or middle, got 'z'; the ids are a, b, blank, c, d"),
        ({"stack": "maybe"}, "stack is true or false, got 'maybe'"),
        ({"wokring_size": 300}, "has no key 'wokring_size'"),
        ({"moving": "a.png"}, "a series sets 'moving' itself"),
    ],
)
def test_wrong_arguments_are_told_before_any_work(known, tmp_path, options, message):
    with pytest.raises(InputError, match=message):
        align(known, tmp_path / "out", **options)
    assert not (tmp_path / "out" / "a").exists()


def test_command_line_takes_a_list_of_images_and_says_where_to_look(known, tmp_path, monkeypatch, capsys):
    images = ",".join(str(known.root / f"{name}.png") for name in "bc")
    arguments = ["--images", images, "--bundle", str(known.config), "--output_dir", str(tmp_path / "out")]
    monkeypatch.setattr(sys, "argv", ["series", *arguments, "--reference", "middle", "--least_size", "300"])
    main()
    said = capsys.readouterr().out
    assert "reference c: the middle of the order" in said
    assert "b: ok, c > b" in said
    assert f"2 sections: 2 ok, 0 poor, 0 failed; {tmp_path}/out/index.html" in said
    assert json.loads((tmp_path / "out" / "series.json").read_text())["settings"] == {"least_size": "300"}


def test_command_line_gives_one_line_for_a_wrong_bundle(known, tmp_path, monkeypatch):
    arguments = ["--images", str(known.table), "--bundle", "bundles/typo", "--output_dir", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", ["series", *arguments])
    with pytest.raises(SystemExit, match=r"^error: unknown bundle 'bundles/typo'"):
        main()
