"""What a registration leaves on disk, against a known shift."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch

from custom_components.common.errors import InputError
from custom_components.fields import read_displacement, read_transform, transform_points
from custom_components.outputs.pair_folder import is_done
from custom_components.outputs.writer import write_failure
from custom_components.pairs import read_geojson, read_image, read_points, write_image
from custom_components.pairs.layout import Layout
from custom_components.slides.native import output_suffix, rim_median


def test_warped_image_keeps_dtype_and_channels_and_fills_with_the_background(case):
    case.write(report=False)
    warped = read_image(case.folder / "warped.png").numpy()
    moving, fixed = (case.images[side].numpy() for side in ("moving", "fixed"))
    assert warped.dtype == np.uint8
    assert warped.shape == fixed.shape
    # warped(row, col) = moving(row + 4, col - 6); columns below 6 lie outside
    inner = moving[:, 4 : 4 + warped.shape[1], : warped.shape[2] - 6][:, :96]
    np.testing.assert_allclose(warped[:, :, 7 : 6 + inner.shape[2]], inner[:, :, 1:], atol=1)
    assert (warped[:, :, :5] == np.array(rim_median(moving))[:, None, None]).all()


def test_fields_are_physical_and_inverse_to_each_other(case):
    case.write(report=False)
    forward, backward = (
        read_displacement(case.folder / name) for name in ("displacement.mha", "inverse_displacement.mha")
    )
    points = np.array([[40.0, 50.0], [60.5, 30.25]])  # x, y
    moved = transform_points(forward, points)
    np.testing.assert_allclose(moved - points, np.tile([-6.0, 4.0], (2, 1)), atol=1e-4)
    np.testing.assert_allclose(transform_points(backward, moved), points, atol=1e-4)
    transform = read_transform(case.folder / "transform.h5")
    np.testing.assert_allclose(list(transform.TransformPoint([40.0, 50.0])), [34.0, 54.0], atol=1e-4)


def test_moving_landmarks_land_on_the_fixed_ones(case):
    metrics = case.write(report=False)
    warped = read_points(case.folder / "warped_landmarks.csv")
    np.testing.assert_allclose(warped, read_points(case.pair.fixed_landmarks), atol=1e-3)
    marks = metrics["landmarks"]
    assert marks["mean"] < 1e-5
    assert marks["robustness"] == 1.0
    assert marks["initial_mean"] == pytest.approx(np.hypot(4, 6) / np.hypot(96, 120))


def test_metrics_file_is_strict_json_with_the_agreed_keys(case):
    returned = case.write()
    text = (case.folder / "metrics.json").read_text()
    stored = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    keys = {
        "id", "status", "reason", "note", "notes", "unit", "moving", "fixed", "moving_pixel_size", "fixed_pixel_size",
        "moving_grid", "fixed_grid", "stages", "matches", "dropped", "residual_median", "inverse_error",
        "folding_share", "seconds", "landmarks", "versions",
    }  # fmt: skip
    assert keys <= set(stored)
    assert stored == json.loads(json.dumps(returned))
    assert (stored["status"], stored["matches"], stored["dropped"]) == ("ok", 40, 5)
    assert stored["residual_median"] < 1e-4
    assert stored["folding_share"] == 0
    assert stored["inverse_error"]["max"] < 1e-4
    assert stored["seconds"]["total"] >= 1.5
    assert stored["stages"]["flow_refinement"] == {"seconds": 0.3, "similarity": 0.5}
    assert stored["fixed_grid"]["shape"] == [96, 120]


def test_nothing_temporary_is_left(case):
    case.write(report=False)
    assert [p.name for p in case.output_dir.iterdir()] == ["a_to_b"]
    assert not [p for p in case.folder.iterdir() if p.name.startswith(".")]


def test_a_repeated_run_replaces_the_folder(case):
    case.write(report=True)
    (case.folder / "notes.txt").write_text("the user's")
    case.write(report=False)
    assert (case.folder / "notes.txt").read_text() == "the user's"
    assert not (case.folder / "thumbnail.jpg").exists()


def test_a_failure_midway_leaves_the_earlier_result(case, tmp_path):
    case.write(report=False)
    broken = replace(case.pair, moving_annotations=tmp_path / "absent.geojson")
    with pytest.raises(InputError, match=r"absent\.geojson"):
        case.write(report=False, pair=broken)
    assert case.stored()["status"] == "ok"
    assert [p.name for p in case.output_dir.iterdir()] == ["a_to_b"]


def test_an_output_folder_that_cannot_be_made_is_named(case, tmp_path):
    file = tmp_path / "occupied"
    file.write_text("")
    with pytest.raises(InputError, match="occupied"):
        case.write(output_dir=file)
    with pytest.raises(InputError, match="occupied"):
        write_failure(case.pair, "no", file, 0.0)


def test_done_means_registered_not_failed(case):
    assert not is_done(case.output_dir, case.pair.id)
    write_failure(case.pair, "no tissue was found", case.output_dir, 2.0)
    assert not is_done(case.output_dir, case.pair.id)
    assert case.stored()["reason"] == "no tissue was found"
    case.write(report=False)
    assert is_done(case.output_dir, case.pair.id)


def test_folding_and_few_matches_make_a_poor_result(case):
    case.matches = case.matches.select(torch.arange(3))
    rows = torch.arange(56.0).view(1, 56, 1)
    case.ddf[:, 0] += torch.where((rows > 20) & (rows < 30), -2 * rows, torch.zeros(1))
    metrics = case.write(report=False)
    assert metrics["status"] == "poor"
    assert "only 3 consistent matches" in metrics["reason"]
    assert "folded over" in metrics["reason"]


def test_annotations_and_labels_travel_along(make_case, tmp_path):
    ring = [[[20.0, 30.0], [60.0, 30.0], [60.0, 70.0], [20.0, 30.0]]]
    feature = {"type": "Feature", "id": "f1", "properties": {"name": "duct"}}
    (tmp_path / "marks.geojson").write_text(
        json.dumps({**feature, "geometry": {"type": "Polygon", "coordinates": ring}})
    )
    labels = np.zeros((1, 104, 112), np.uint8)
    labels[:, 40:60, 30:50] = 3
    write_image(tmp_path / "labels.png", labels)
    truth = np.zeros((1, 96, 120), np.uint8)
    truth[:, 36:56, 36:56] = 3
    write_image(tmp_path / "truth.png", truth)
    case = make_case(
        moving_annotations=tmp_path / "marks.geojson", moving_labels=tmp_path / "labels.png",
        fixed_labels=tmp_path / "truth.png",
    )  # fmt: skip
    metrics = case.write(report=False)
    moved = read_geojson(case.folder / "warped_marks.geojson")
    assert (moved["id"], moved["properties"]) == ("f1", {"name": "duct"})
    corner = np.array(moved["geometry"]["coordinates"][0][0])
    np.testing.assert_allclose(corner, [26.0, 26.0], atol=1e-3)
    assert (read_image(case.folder / "warped_labels.png").numpy() == truth).all()
    assert list(metrics["dice"].values()) == [1.0]
    assert metrics["label_accuracy"] == 1


def test_sixteen_bit_tiff_keeps_its_dtype(make_case, tmp_path):
    case = make_case()
    path = tmp_path / "deep.tif"
    deep = case.images["moving"].numpy().astype(np.uint16) * 200
    write_image(path, deep[:2])
    metrics = case.write(report=False, moving=read_image(path), pair=replace(case.pair, moving=path))
    warped = read_image(case.folder / "warped.tif")
    assert (warped.meta["dtype"], warped.shape[0], metrics["status"]) == ("uint16", 2, "ok")


def test_three_channels_that_are_no_colours_stay_channels(make_case, tmp_path):
    case = make_case()
    names, colours = ("DAPI", "CD3", "CD8"), ((0, 0, 255), (0, 255, 0), (255, 0, 0))
    path = tmp_path / "moving.ome.tif"
    write_image(path, case.images["moving"].numpy(), layout=Layout("channels", names, colours))
    moving = read_image(path)
    moving.meta["layout"] = Layout("channels", names, colours, "zlib", (64, 64), 2)
    case.write(report=False, moving=moving, pair=replace(case.pair, moving=path))
    with tifffile.TiffFile(case.folder / "warped.ome.tif") as tiff:
        series, page = tiff.series[0], tiff.pages.first
        assert (series.axes, series.dtype, len(series.levels)) == ("CYX", "uint8", 2)
        assert (page.tilelength, page.tilewidth, page.samplesperpixel) == (64, 64, 1)
        channels = tifffile.xml2dict(tiff.ome_metadata)["OME"]["Image"]["Pixels"]["Channel"]
        assert tuple(channel["Name"] for channel in channels) == names


def test_ome_zarr_is_written_and_replaced_as_a_whole(case):
    zarr = pytest.importorskip("zarr")
    for _ in range(2):
        case.write(report=False, output_ext="ome.zarr")
        group = zarr.open_group(str(case.folder / "warped.ome.zarr"), mode="r")
        assert group["0"].shape == case.images["fixed"].shape
        hidden = [path.name for path in (case.folder / "warped.ome.zarr").iterdir()]
        assert not [name for name in hidden if name.startswith("earlier")]
    case.write(report=False)
    assert not (case.folder / "warped.ome.zarr").exists()


@pytest.mark.parametrize(
    ("name", "wanted", "suffix"),
    [
        ("a.jpg", None, ".png"), ("a.ome.tiff", None, ".ome.tif"), ("a.nii.gz", None, ".nii.gz"),
        ("a.tif", None, ".tif"), ("a.ome.zarr", None, ".ome.zarr"), ("a.jpg", "ome.zarr", ".ome.zarr"),
        ("a.jpg", "tif", ".tif"), ("a.png", ".mha", ".mha"),
    ],
)  # fmt: skip
def test_suffix_of_the_warped_image(name, wanted, suffix):
    assert output_suffix(Path(name), wanted) == suffix


def test_a_caller_may_add_doubts_and_entries_and_ask_for_more_similarity(case):
    metrics = case.write(report=False, warnings=["a link folds"], details={"series": {"path": ["a"]}})
    assert (metrics["status"], metrics["reason"]) == ("poor", "a link folds")
    assert case.stored()["series"] == {"path": ["a"]}
    assert case.write(report=False)["status"] == "ok"
    assert case.write(report=False, least_similarity=0.6)["reason"].endswith("registration is only 0.50")
