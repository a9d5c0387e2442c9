"""How far carried points and outlines may be off, against closed forms: units, directions, forms of tables."""

from __future__ import annotations

import csv
import json
import zipfile
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
import torch

import warpzoo
from custom_components.commands.apply import apply
from custom_components.common.errors import InputError
from custom_components.fields import ErrorMap, write_error_map
from custom_components.results.stored import open_result

SLOPES = np.array([[0.02, 0.05, -0.03], [0.04, 0.09, 0.02]])  # voxels of the working grid a voxel
STARTS = np.array([2.0, 6.0])
FIGURES = {"median": 3.0, "p95": 9.0, "unit": "pixel"}


def estimated(known):
    """The known result with an error map that is a ramp over the fixed image, at half its size."""
    working = known.fixed.shrunk(0.5)
    slopes = SLOPES[:, -len(working.shape) :]
    values = np.tensordot(slopes, np.indices(working.shape), 1) + STARTS.reshape(2, *(1,) * len(working.shape))
    error = torch.from_numpy(values)[None].float()
    write_error_map(known.folder / "error_estimate.mha", ErrorMap.of_voxels(error, working, known.fixed))
    return known


def wanted(known, points: np.ndarray, direction: str) -> np.ndarray:
    """(N, 2) errors of points of the source image, in pixels of the target image, of volumes in millimetres."""
    places = points if direction == "fixed_to_moving" else known.map(points, direction)
    working = known.fixed.shrunk(0.5)
    voxels = working.index(known.fixed.physical(places)) @ SLOPES[:, -len(working.shape) :].T + STARTS
    lengths = voxels * working.spacing.max()
    if len(working.shape) == 3:
        return lengths
    # a voxel is two pixels of the fixed image; a fixed pixel is 1.04 of the moving image
    pixels = lengths / 0.5
    return pixels * (1.04 if direction == "fixed_to_moving" else 1.0)


def sample_points(known, direction: str) -> np.ndarray:
    fixed = np.random.default_rng(0).uniform(0.3, 0.7, (8, len(known.fixed.shape))) * known.fixed.shape
    return fixed if direction == "fixed_to_moving" else known.map(fixed, "fixed_to_moving")


both_ways = pytest.mark.parametrize("direction", ["moving_to_fixed", "fixed_to_moving"])


@pytest.fixture
def sections(make_result: Callable):
    return estimated(make_result(2))


@both_ways
def test_points_have_the_error_of_their_place_on_the_fixed_image(known, direction):
    points = sample_points(known, direction)
    assert open_result(known.folder).point_errors(points, direction) is None
    estimated(known)
    expected = wanted(known, points, direction)
    np.testing.assert_allclose(open_result(known.folder).point_errors(points, direction), expected, rtol=1e-3)
    result = warpzoo.open(known.folder)
    np.testing.assert_allclose(result.point_errors(points[:, ::-1], direction), expected, rtol=1e-3)
    if len(known.fixed.shape) == 3:
        own = known.grids(direction)[0].physical(points)
        np.testing.assert_allclose(result.point_errors(own, direction, space="lps"), expected, rtol=1e-3)


def test_python_has_the_figures_of_the_record(sections):
    assert warpzoo.open(sections.folder).expected_error is None
    sections.change(expected_error=FIGURES)
    assert warpzoo.open(sections.folder).expected_error == FIGURES


@both_ways
def test_a_table_of_points_gets_a_column(sections, direction, tmp_path):
    points = sample_points(sections, direction)
    given = tmp_path / "cells.csv"
    given.write_text("\n".join(["name,X,Y,class", *(f"c{n},{x},{y},T" for n, (y, x) in enumerate(points))]) + "\n,,,\n")
    with open(apply(str(sections.folder), points=str(given), direction=direction)) as lines:
        rows = list(csv.DictReader(lines))
    assert list(rows[0]) == ["name", "X", "Y", "class", "expected_error"]
    found = [float(row["expected_error"]) for row in rows[:-1]]
    np.testing.assert_allclose(found, wanted(sections, points, direction)[:, 0], rtol=1e-3)
    assert rows[-1]["expected_error"] == ""
    assert [row["class"] for row in rows[:-1]] == ["T"] * 8


def test_micrometres_in_the_table_leave_the_error_in_pixels(sections, tmp_path):
    points = sample_points(sections, "moving_to_fixed")
    (tmp_path / "q.csv").write_text(
        "\n".join(["Centroid X µm,Centroid Y µm", *(f"{(x + 0.5) / 4},{(y + 0.5) / 4}" for y, x in points)]) + "\n"
    )
    found = pd.read_csv(apply(str(sections.folder), points=str(tmp_path / "q.csv")))
    np.testing.assert_allclose(found["expected_error"], wanted(sections, points, "moving_to_fixed")[:, 0], rtol=1e-3)


@pytest.mark.parametrize("suffix", [".csv", ".xlsx", ".parquet"])
def test_every_form_of_table_takes_the_column_and_a_second_time_replaces_it(sections, suffix, tmp_path):
    pytest.importorskip({".xlsx": "openpyxl", ".parquet": "pyarrow"}.get(suffix, "csv"))
    points = sample_points(sections, "moving_to_fixed")
    table = pd.DataFrame({"X": points[:, 1], "Y": points[:, 0], "label": list("abcdefgh")})
    read = {".csv": pd.read_csv, ".xlsx": pd.read_excel, ".parquet": pd.read_parquet}[suffix]
    given = tmp_path / f"t{suffix}"
    write = {".csv": table.to_csv, ".xlsx": table.to_excel, ".parquet": table.to_parquet}[suffix]
    write(given, index=False)
    there = apply(str(sections.folder), points=str(given))
    found = read(there)
    assert list(found) == ["X", "Y", "label", "expected_error"]
    np.testing.assert_allclose(found["expected_error"], wanted(sections, points, "moving_to_fixed")[:, 0], rtol=1e-3)
    back = read(apply(str(sections.folder), points=there, direction="fixed_to_moving"))
    assert list(back) == ["X", "Y", "label", "expected_error"]
    np.testing.assert_allclose(back[["X", "Y"]], table[["X", "Y"]], atol=1e-2)
    np.testing.assert_allclose(back["expected_error"], found["expected_error"] * 1.04, rtol=1e-3)


def test_a_table_without_a_header_gets_no_column_and_says_so(sections, tmp_path, capsys):
    (tmp_path / "b.csv").write_text("Pt-0,true,40,50,5,6\n")
    path = apply(str(sections.folder), points=str(tmp_path / "b.csv"), unit="pixel")
    assert len(open(path).read().split(",")) == 6
    assert "b.csv has no header, so that the points' expected errors are not written" in capsys.readouterr().err


@both_ways
def test_points_of_volumes_have_theirs_in_millimetres(make_result, direction, tmp_path, capsys):
    known = estimated(make_result(3))
    points = sample_points(known, direction)
    places = known.grids(direction)[0].physical(points)
    (tmp_path / "p.csv").write_text("\n".join(["X,Y,Z", *(f"{x},{y},{z}" for x, y, z in places)]) + "\n")
    found = pd.read_csv(apply(str(known.folder), points=str(tmp_path / "p.csv"), unit="lps", direction=direction))
    assert list(found) == ["X", "Y", "Z", "expected_error"]
    np.testing.assert_allclose(found["expected_error"], wanted(known, points, direction)[:, 0], rtol=1e-3)
    controls = [{"label": "F", "position": list(places[0])}]
    slicer = tmp_path / "F.mrk.json"
    slicer.write_text(json.dumps({"markups": [{"coordinateSystem": "LPS", "controlPoints": controls}]}))
    apply(str(known.folder), points=str(slicer), direction=direction)
    assert "F.mrk.json has no place for the points' expected errors" in capsys.readouterr().err


@both_ways
def test_outlines_get_the_median_and_the_largest_of_their_vertices(sections, direction):
    points = sample_points(sections, direction)
    ring = [[x + 0.5, y + 0.5] for y, x in points.tolist()]  # QuPath's corner
    ring.append(ring[0])
    inner = {"type": "Feature", "id": "child", "geometry": {"type": "Point", "coordinates": ring[2]}, "properties": {}}
    outline = {
        "type": "Feature", "id": "region", "geometry": {"type": "Polygon", "coordinates": [ring]},
        "properties": {"name": "T", "childObjects": [inner]},
    }  # fmt: skip
    empty = {"type": "Feature", "id": "none", "geometry": None, "properties": None}
    given = {"type": "FeatureCollection", "features": [outline, empty]}
    before = json.dumps(given)
    result = warpzoo.open(sections.folder)
    carried, without = result.geojson(given, direction=direction)["features"]
    assert json.dumps(given) == before
    errors = wanted(sections, np.vstack([points, points[:1]]), direction)[:, 0]
    assert carried["properties"]["name"] == "T"
    assert carried["properties"]["expected_error"] == pytest.approx(np.median(errors), rel=1e-3)
    assert carried["properties"]["largest_expected_error"] == pytest.approx(errors.max(), rel=1e-3)
    (child,) = carried["properties"]["childObjects"]
    assert child["properties"]["expected_error"] == pytest.approx(errors[2], rel=1e-3)
    assert without["properties"] is None
    # a geometry by itself has no properties
    assert set(result.geojson(outline["geometry"], direction=direction)) == {"type", "coordinates"}


def test_other_forms_of_annotations_are_carried_without(sections, tmp_path):
    roifile = pytest.importorskip("roifile")
    roi = roifile.ImagejRoi.frompoints(np.array([[30.0, 30.0], [60.0, 30.0], [60.0, 50.0]]))
    with zipfile.ZipFile(tmp_path / "RoiSet.zip", "w") as archive:
        archive.writestr("a.roi", roi.tobytes())
    path = apply(str(sections.folder), geojson=str(tmp_path / "RoiSet.zip"))
    assert len(zipfile.ZipFile(path).namelist()) == 1


def test_a_result_without_a_map_carries_as_before(make_result, tmp_path):
    known = make_result(2)
    (tmp_path / "p.csv").write_text("X,Y\n40,50\n")
    assert open(apply(str(known.folder), points=str(tmp_path / "p.csv"))).readline() == "X,Y\n"
    feature = {"type": "Feature", "geometry": {"type": "Point", "coordinates": [40, 50]}, "properties": {"a": 1}}
    assert open_result(known.folder).geojson(feature)["properties"] == {"a": 1}


def test_a_damaged_map_hinders_only_what_asks_for_it(sections, tmp_path):
    (sections.folder / "error_estimate.mha").write_text("")
    stored = open_result(sections.folder)
    assert np.isfinite(stored.points([[40.0, 50.0]])).all()
    (tmp_path / "p.csv").write_text("X,Y\n40,50\n")
    for use in (
        lambda: stored.error,
        lambda: stored.point_errors([[1.0, 2.0]]),
        lambda: stored.points_file(tmp_path / "p.csv"),
    ):
        with pytest.raises(InputError, match=r"error_estimate\.mha is not readable"):
            use()


def test_the_map_is_of_the_pairs_own_field_and_is_never_replaced(sections, tmp_path):
    (tmp_path / "p.csv").write_text("X,Y\n40,50\n")
    own = sections.folder / "error_estimate.mha"
    with pytest.raises(InputError, match="error_estimate"):
        apply(str(sections.folder), points=str(tmp_path / "p.csv"), output=str(own), overwrite=True)
    for file in (sections.field, sections.inverse):
        file.rename(file.with_name(file.name.replace("displacement", "refined")))
    assert open_result(sections.folder / "refined.mha").error is None
