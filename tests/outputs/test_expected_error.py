"""What a pair's folder says of an error estimate, against a ramp with known figures; and nothing without one."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
import torch

import warpzoo
from custom_components.fields import Grid
from custom_components.handlers.writing import format_line
from custom_components.outputs.error_pictures import draw_errors, overlay
from custom_components.outputs.expected_error import error_figures, told_error
from custom_components.outputs.summary import write_summary
from custom_components.pairs import read_geojson, write_geojson
from custom_components.results.stored import open_result

WORKING = (56, 64)  # of the case, half the size of the fixed file
SENTENCE = "typical error 7.0 px, 95 % of places below 21 px"


def ramp() -> torch.Tensor:
    """Expected errors of 1 voxel in the first row to 6 in the last one, bounds of three times that."""
    rows = torch.linspace(1, 6, WORKING[0])[:, None].expand(WORKING)
    return torch.stack([rows, 3 * rows])[None]


def at_row(row: float) -> float:
    """The expected error of a row of the fixed file, in its pixels: two a voxel."""
    return 2 * (1 + 5 * ((row + 0.5) / 2 - 0.5) / (WORKING[0] - 1))


@pytest.fixture
def estimated(case):
    case.error = ramp()
    return case


@pytest.fixture
def even(case):
    """Errors of 3.5 and 10.5 voxels all over, so 7 and 21 pixels."""
    case.error = torch.tensor([3.5, 10.5]).reshape(1, 2, 1, 1).expand(1, 2, *WORKING)
    return case


def test_the_map_lies_beside_the_field_on_its_grid_in_its_unit(estimated):
    estimated.write(report=False)
    stored = open_result(estimated.folder)
    error, field = stored.error.image, stored.field()
    for geometry in ("GetSize", "GetSpacing", "GetOrigin", "GetDirection"):
        assert getattr(error, geometry)() == getattr(field, geometry)()
    assert error.GetNumberOfComponentsPerPixel() == 2
    assert error.GetPixelIDTypeAsString() == "vector of 32-bit float"
    rows = np.array([[20.0, 30.0], [61.25, 80.0]])
    expected = [[at_row(row), 3 * at_row(row)] for row in rows[:, 0]]
    np.testing.assert_allclose(stored.point_errors(rows, "fixed_to_moving"), expected, rtol=1e-5)
    np.testing.assert_allclose(stored.point_errors(rows + np.array([4, -6])), expected, rtol=1e-4)
    assert "error_estimate.mha" in estimated.stored()["run"]["files"]


def test_the_record_has_median_and_percentile_over_the_tissue_in_pixels(estimated):
    estimated.write(report=False)
    tissue = estimated.images["mask_fixed"][0] > 0.5
    figures = estimated.stored()["expected_error"]
    assert figures["unit"] == "pixel"
    assert figures["median"] == pytest.approx(2 * np.median(ramp()[0, 0][tissue]), rel=1e-5)
    assert figures["p95"] == pytest.approx(2 * np.percentile(ramp()[0, 1][tissue], 95), rel=1e-5)
    assert set(figures) == {"median", "p95", "unit", "share", "unknown_share", "beyond_bound"}
    rows, columns = tissue.numpy().nonzero()
    diagonal = 2 * np.hypot(np.ptp(rows) + 1, np.ptp(columns) + 1)
    assert figures["share"] == pytest.approx(figures["median"] / diagonal, rel=1e-5)


@pytest.mark.parametrize("known", [True, False])
def test_micrometres_are_told_where_the_pixel_size_is_known(known):
    file = Grid.of_pixels((96, 121), (0.5, 0.5) if known else None)
    working = file.shrunk(0.25)  # 24 x 30: a voxel is 4.033 columns
    error, mask = torch.full((1, 2, *working.shape), 2.0), torch.ones(1, *working.shape)
    figures = error_figures(error, mask, working, file, (0.5, 0.5) if known else None)
    pixels = 2 * 121 / 30
    wanted = {"median": pixels, "p95": pixels, "unit": "pixel"}
    assert {k: figures[k] for k in wanted} == {**wanted, "median": pytest.approx(pixels), "p95": pytest.approx(pixels)}
    assert ("median_micrometre" in figures) == known
    if known:
        assert figures["p95_micrometre"] == pytest.approx(pixels / 2)
        assert told_error(figures) == "typical error 8.1 px (4.0 µm), 95 % of places below 8.1 px (4.0 µm)"


def test_a_pixel_size_of_one_file_alone_still_gives_micrometres():
    file = Grid.of_pixels((96, 120))  # counted in pixels, as the other file states no size
    error, mask = torch.full((1, 2, 48, 60), 3.0), torch.zeros(1, 48, 60)
    figures = error_figures(error, mask, file.shrunk(0.5), file, (0.25, 0.25))
    assert figures["median"] == pytest.approx(6)
    assert figures["median_micrometre"] == pytest.approx(1.5)


def test_places_without_an_estimate_do_not_count():
    grid, mask = Grid.of_pixels((8, 8)), torch.ones(1, 8, 8)
    error = torch.full((1, 2, 8, 8), 2.0)
    error[:, :, :6] = torch.nan
    assert error_figures(error, mask, grid, grid, None)["median"] == 2
    assert error_figures(error * torch.nan, mask, grid, grid, None) is None


def test_landmarks_beyond_their_bound_are_counted(case):
    # the known shift is exact, so move six of the nine landmarks' truth: 10 pixels down
    lines = case.pair.fixed_landmarks.read_text().splitlines()
    moved = [f"{n},{x},{float(y) + 10}" for n, x, y in (line.split(",") for line in lines[1:7])]
    case.pair.fixed_landmarks.write_text("\n".join([lines[0], *moved, *lines[7:]]) + "\n")
    case.error = torch.tensor([1.0, 4.9]).reshape(1, 2, 1, 1).expand(1, 2, *WORKING)  # at most 9.8 pixels
    assert case.write(report=False)["expected_error"]["beyond_bound"] == pytest.approx(6 / 9)
    case.error = torch.tensor([1.0, 5.1]).reshape(1, 2, 1, 1).expand(1, 2, *WORKING)
    assert case.write(report=False)["expected_error"]["beyond_bound"] == 0


def test_annotations_of_both_images_are_carried_with_theirs(make_case, tmp_path):
    ring = [[30.5, 20.5], [60.5, 20.5], [60.5, 50.5], [30.5, 20.5]]
    feature = {"type": "Feature", "geometry": {"type": "Polygon", "coordinates": [ring]}, "properties": {"name": "T"}}
    for side in ("moving", "fixed"):
        write_geojson(tmp_path / f"{side}.geojson", {"type": "FeatureCollection", "features": [feature]})
    files = {f"{side}_annotations": tmp_path / f"{side}.geojson" for side in ("moving", "fixed")}
    case = make_case(**files)
    case.error = ramp()
    case.write(report=False)
    # rows 20, 20, 50, 20 of the moving image lie four higher in the fixed one
    for name, shift in (("warped_moving", -4), ("warped_fixed_fixed", 0)):
        (found,) = read_geojson(case.folder / f"{name}.geojson")["features"]
        assert found["properties"] == {
            "name": "T",
            "expected_error": pytest.approx(at_row(20 + shift), abs=2e-3),
            "largest_expected_error": pytest.approx(at_row(50 + shift), abs=2e-3),
        }


def test_report_console_and_summary_say_it(even):
    metrics = even.write()
    page = (even.folder / "report.html").read_text()
    assert page.count(SENTENCE) == 2  # in the verdict and over the pictures
    assert "Of the landmarks 0 % lie farther off than their bound" in page
    assert format_line(metrics).startswith("a_to_b: poor, typical error 7.0 px, 40 matches, 1.5 s")
    assert "typical error 7.0 px, 4.6% of the tissue's size" in metrics["reason"]  # of an image of 112 by 128
    write_summary(even.output_dir)
    with (even.output_dir / "summary.csv").open() as lines:
        (row,) = csv.DictReader(lines)
    assert (row["expected_error_median_px"], row["expected_error_p95_px"]) == ("7.0", "21.0")
    assert '<th class="n">typical error</th>' in (even.output_dir / "index.html").read_text()
    assert '<td class="n">7.0 px</td>' in (even.output_dir / "index.html").read_text()


def test_a_report_that_is_written_later_has_the_pictures_too(even):
    even.write(report=False)
    page = warpzoo.open(even.folder).report().read_text()
    assert page.count(SENTENCE) == 2
    assert "figcaption>95 % of places are nearer than this." in page


def test_without_an_estimate_nothing_is_claimed(case):
    metrics = case.write()
    assert "expected_error" not in metrics
    assert not (case.folder / "error_estimate.mha").exists()
    page = (case.folder / "report.html").read_text()
    write_summary(case.output_dir)
    said = [page, format_line(metrics), *((case.output_dir / n).read_text() for n in ("summary.csv", "index.html"))]
    assert not any("expected" in text.lower() or "typical error" in text for text in said)
    result = warpzoo.open(case.folder)
    assert result.expected_error is None
    assert result.point_errors([[1.0, 2.0]]) is None
    assert result.stored.error is None
    case.error = torch.full((1, 2, *WORKING), torch.nan)  # an estimate of no place
    case.write(report=False)
    assert "expected_error" not in json.loads((case.folder / "metrics.json").read_text())
    assert not (case.folder / "error_estimate.mha").exists()


def test_a_repeat_without_an_estimate_takes_the_map_away(even):
    even.write(report=False)
    even.error = None
    even.write(report=False)
    assert not (even.folder / "error_estimate.mha").exists()


def test_colours_grow_darker_with_the_error_and_have_a_bar(estimated):
    estimated.write(report=False)
    grid = Grid.of(estimated.images["fixed"])
    white = np.full((*grid.shape, 3), 255, np.uint8)
    pictures = draw_errors([white], open_result(estimated.folder).error, grid, grid)
    for picture in pictures.values():
        assert picture.shape[1] > grid.shape[1]
        first, last = (picture[:, 60].astype(int)[rows].mean(0) for rows in (slice(40, 50), slice(110, 120)))
        assert last.sum() < first.sum()
    nowhere = overlay(white, np.full(grid.shape, np.nan), 1.0)
    assert (nowhere == 255).all()
