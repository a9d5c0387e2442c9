"""Annotations carried through stored fields, against closed forms, a known smooth map and warped label images."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import shapely
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.draw import polygon2mask

from benchmarks.annotations import KnownSlide, cells, regions, true_outlines
from custom_components.annotations import Coordinates, PointMap, warp_geojson, warp_points_reported
from custom_components.fields import Grid, displacement_image, index_to_physical, resample

QUPATH, CENTRES = Coordinates(corner=True), Coordinates()
PLAIN = index_to_physical([1.0, 1.0])


def affine_maps(matrix: np.ndarray, offset: np.ndarray, shape: tuple[int, int], spacing: int = 8) -> list[PointMap]:
    """[fixed -> moving, moving -> fixed] of ``p @ matrix.T + offset`` in pixels, through stored fields."""
    working = index_to_physical([spacing] * 2, [(spacing - 1) / 2] * 2)
    size = [side // spacing for side in shape]
    index = np.stack(np.indices(size), axis=-1).reshape(-1, 2).astype(np.float64)
    place = index * spacing + (spacing - 1) / 2
    found, whole = [], Grid.of_pixels(shape)
    for ends, names in (
        (place @ matrix.T + offset, ("fixed", "moving")),
        ((place - offset) @ np.linalg.inv(matrix).T, ("moving", "fixed")),
    ):
        ddf = torch.from_numpy(((ends - place) / spacing).T.reshape(1, 2, *size))
        found.append(PointMap(displacement_image(ddf, working, working), whole, whole, *names))
    return found


def feature(ring: np.ndarray, **members: Any) -> dict[str, Any]:
    """A polygon of (N, 2) x, y, closed."""
    coordinates = [np.concatenate([ring, ring[:1]]).tolist()]
    return {"type": "Feature", "geometry": {"type": "Polygon", "coordinates": coordinates}, **members}


def outline(carried: dict[str, Any]) -> np.ndarray:
    return np.array(carried["geometry"]["coordinates"][0])


def flipped(angle: float, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """(matrix, offset) of a turn about the image's middle."""
    matrix = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    middle = (np.array(shape) - 1) / 2
    return matrix, middle - matrix @ middle


# a known smooth map


def test_there_and_back_is_within_a_small_part_of_a_pixel(slide: KnownSlide) -> None:
    to_moving, to_fixed = slide.maps
    points = np.random.default_rng(0).uniform(600, 5400, (5000, 2))
    assert np.linalg.norm(to_moving(to_fixed(points)) - points, axis=1).max() < 0.1
    assert np.linalg.norm(to_fixed(points) - slide.to_fixed(points), axis=1).max() < 0.1


def test_geojson_comes_back_to_where_it_was(slide: KnownSlide) -> None:
    data = cells(slide.side, 50)
    to_moving, to_fixed = slide.maps
    there, _ = warp_geojson(data, to_fixed, QUPATH, QUPATH)
    back, _ = warp_geojson(there, to_moving, QUPATH, QUPATH)
    for before, after in zip(data, back, strict=True):
        assert np.abs(outline(before) - outline(after)).max() < 0.1
        assert (before["id"], before["properties"]) == (after["id"], after["properties"])


def test_outlines_cover_what_they_should(slide: KnownSlide) -> None:
    rings = regions(slide.side, 10)
    data = [feature(ring[:-1, ::-1]) for ring in rings]
    carried, found = warp_geojson(data, slide.maps[1], CENTRES, CENTRES)
    assert found.added > 0
    for moved, exact in zip(carried, true_outlines(slide, rings), strict=True):
        shape = shapely.Polygon(outline(moved)[:, ::-1])
        assert shape.intersection(exact).area / shape.union(exact).area > 0.998
        assert shape.area == pytest.approx(exact.area, rel=1e-3)


def test_area_is_the_integral_of_the_jacobian(slide: KnownSlide) -> None:
    """Of fixed rectangles carried to the moving image, by Gauss quadrature."""
    nodes, weights = np.polynomial.legendre.leggauss(40)
    for low, high in ((np.array([900, 1200]), np.array([4100, 4900])), (np.array([2500, 900]), np.array([2600, 3000]))):
        rows, columns = (low[i] + (nodes + 1) / 2 * (high[i] - low[i]) for i in (0, 1))
        places = np.stack(np.meshgrid(rows, columns, indexing="ij"), axis=-1).reshape(-1, 2)
        integral = (np.outer(weights, weights).ravel() * slide.jacobian(places)).sum() * np.prod(high - low) / 4
        corners = np.array([[low[1], low[0]], [high[1], low[0]], [high[1], high[0]], [low[1], high[0]]], dtype=float)
        carried, _ = warp_geojson([feature(corners)], slide.maps[0], CENTRES, CENTRES)
        assert shapely.Polygon(outline(carried[0])).area == pytest.approx(integral, rel=1e-3)
        # the four corners alone are farther off: the test could fail
        alone = slide.maps[0](corners[:, ::-1])
        assert shapely.Polygon(alone).area != pytest.approx(integral, rel=1e-3)


@pytest.mark.slow
def test_a_slide_of_thirty_thousand_pixels_there_and_back() -> None:
    slide = KnownSlide()
    to_moving, to_fixed = slide.maps
    points = np.random.default_rng(0).uniform(3000, 27000, (20000, 2))
    error = np.linalg.norm(to_moving(to_fixed(points)) - points, axis=1)
    assert error.max() < 0.5
    assert np.median(error) < 0.02


# closed forms


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=10, deadline=None)
def test_an_affine_map_changes_areas_by_its_determinant_and_adds_no_points(seed: int) -> None:
    rng = np.random.default_rng(seed)
    matrix, offset = np.eye(2) + rng.uniform(-0.3, 0.3, (2, 2)), rng.uniform(-20, 20, 2)
    ring = shapely.MultiPoint(rng.uniform(20, 180, (8, 2))).convex_hull.exterior.coords[:-1]
    data = feature(np.array(ring))
    carried, found = warp_geojson(data, affine_maps(matrix, offset, (200, 200))[0], QUPATH, QUPATH)
    assert found.added == 0
    before, after = (shapely.Polygon(outline(each)).area for each in (data, carried))
    # corners are written to a thousandth of a pixel
    assert after == pytest.approx(before * abs(np.linalg.det(matrix)), rel=1e-4, abs=0.5)


def test_pixels_of_a_half_turn_come_to_their_counterparts_in_qupaths_coordinates() -> None:
    """Of 200 pixels number 20, 20 to 21 there, becomes number 179, 179 to 180; as pixel centres 20 becomes 179."""
    way = affine_maps(*flipped(np.pi, (200, 200)), (200, 200))[1]
    pixel = np.array([[20.0, 20], [21, 20], [21, 21], [20, 21]])
    carried, found = warp_geojson(feature(pixel), way, QUPATH, QUPATH)
    np.testing.assert_allclose(outline(carried)[:4], 200 - pixel, atol=1e-3)
    assert found.beyond_target == found.beyond_source == 0
    carried, _ = warp_geojson({"type": "Point", "coordinates": [20, 20]}, way, CENTRES, CENTRES)
    np.testing.assert_allclose(carried["coordinates"], [179, 179], atol=1e-3)


@pytest.mark.parametrize("angle", [np.pi, 0.3, -2.0])
def test_outlines_cover_the_same_pixels_as_labels_that_are_warped_with_the_image(angle: float) -> None:
    """Half a pixel of difference between both conventions would show: of a half turn they agree in every pixel."""
    shape = (240, 240)
    forward, backward = affine_maps(*flipped(angle, shape), shape)
    box = np.array([[100.0, 80], [160, 80], [160, 130], [100, 130]])  # x, y from the outer corner
    labels = np.zeros((1, *shape), np.uint8)
    labels[0, 80:130, 100:160] = 1
    warped = resample(labels, PLAIN, forward.displacement, shape, PLAIN, order=0)[0] == 1
    carried, _ = warp_geojson(feature(box), backward, QUPATH, QUPATH)
    ring = outline(carried)[:, ::-1]
    covered = polygon2mask(shape, ring - 0.5)  # it takes pixel centres at integers
    both = (covered & warped).sum() / (covered | warped).sum()
    assert both > (0.999 if angle == np.pi else 0.985)
    assert np.abs(ring[:-1].mean(axis=0) - 0.5 - np.argwhere(warped).mean(axis=0)).max() < 0.1


def test_micrometres_follow_each_images_own_pixels() -> None:
    way = affine_maps(2.0 * np.eye(2), np.array([10.0, 20.0]), (200, 200))[0]
    source, target = Coordinates((0.5, 0.25), corner=True), Coordinates((0.25, 0.2), corner=True)
    carried, _ = warp_geojson({"type": "Point", "coordinates": [10.0, 20.0]}, way, source, target)
    row, column = 2 * (20 / 0.5 - 0.5) + 10, 2 * (10 / 0.25 - 0.5) + 20
    np.testing.assert_allclose(carried["coordinates"], [(column + 0.5) * 0.2, (row + 0.5) * 0.25], atol=1e-3)


# what is told


def _folded(shape: tuple[int, int] = (256, 256)) -> PointMap:
    """Columns 100 to 140 run backwards, three times as fast."""
    columns = np.arange(shape[1])
    shift = np.where(columns < 100, 0, np.where(columns < 140, -4.0 * (columns - 100), -160.0))
    ddf = torch.zeros(1, 2, *shape, dtype=torch.float64)
    ddf[:, 1] = torch.from_numpy(shift)
    return PointMap(displacement_image(ddf, PLAIN, PLAIN), Grid.of_pixels(shape), Grid.of_pixels(shape))


def test_folds_are_told_with_the_ids_and_leave_the_outline_as_it_is() -> None:
    way = _folded()
    slanted = np.array([[60.0, 60], [200, 90], [200, 120], [60, 70]])
    bow = np.array([[10.0, 10], [40, 40], [40, 10], [10, 40]])
    inside = np.array([[110.0, 110], [130, 110], [130, 130], [110, 130]])
    data = [
        feature(slanted, id="a"), feature(bow, id="b"), feature(inside, id="c"), feature(inside - 80, id="d"),
    ]  # fmt: skip
    carried, found = warp_geojson(data, way, CENTRES, CENTRES)
    assert (found.self_intersecting, found.self_intersecting_before, found.flipped) == (("a",), 1, ("c",))
    corners = outline(carried[0])
    assert (corners[0] == corners[-1]).all()
    np.testing.assert_allclose(outline(carried[2])[:, 0], 100 - 3 * (outline(data[2])[:, 0] - 100), atol=1e-3)
    notes = "\n".join(found.notes(way))
    assert "1 of 4 objects (a) cross themselves where the field folds; written as they are" in notes
    assert "1 of 4 objects (c) are turned inside out" in notes
    assert "1 of 4 objects crossed themselves already" in notes


def test_a_section_that_was_turned_over_is_no_fold() -> None:
    way = affine_maps(np.diag([1.0, -1.0]), np.array([0.0, 199.0]), (200, 200))[1]
    carried, found = warp_geojson(feature(np.array([[10.0, 10], [50, 10], [50, 60]])), way, QUPATH, QUPATH)
    assert found.flipped == found.self_intersecting == ()
    np.testing.assert_allclose(outline(carried)[0], [190, 10], atol=1e-3)


def test_what_lies_beyond_either_image_is_kept_and_counted() -> None:
    way = affine_maps(np.eye(2), np.array([0.0, 120.0]), (200, 200))[0]  # columns by 120
    box = np.array([[0.0, 0], [40, 0], [40, 40], [0, 40]])
    data = [feature(box), feature(box + 100), feature(box + 500)]
    carried, found = warp_geojson(data, way, QUPATH, QUPATH)
    assert (found.objects, found.beyond_source, found.beyond_target) == (3, 1, 2)
    np.testing.assert_allclose(outline(carried[1])[:4], box + np.array([220, 100]), atol=1e-3)
    first, second = found.notes(way)
    assert first.startswith("1 of 3 objects reach beyond the fixed image (200 x 200 pixels): are they of this image")
    assert second == "2 of 3 objects reach beyond the moving image (200 x 200 pixels); they are kept"
    moved, told = warp_points_reported(np.array([[5.0, 5], [5, 150], [5, 900]]), way)
    np.testing.assert_allclose(moved[:, 1], [125, 270, 1020], atol=1e-3)
    assert (told.beyond_source, told.beyond_target) == (1, 2)


def test_measurements_are_kept_and_told() -> None:
    way = affine_maps(np.eye(2), np.zeros(2), (200, 200))[1]
    measured = feature(np.array([[1.0, 1], [9, 1], [9, 9]]), properties={"measurements": {"Area": 32.0}})
    carried, found = warp_geojson([measured, measured], way, QUPATH, QUPATH)
    assert carried[0]["properties"] == measured["properties"]
    assert found.notes(way) == ["2 of 2 objects have measurements; they stay those of the moving image"]


def test_nothing_odd_is_not_told(slide: KnownSlide) -> None:
    data = [feature(ring[:-1, ::-1]) for ring in regions(slide.side, 3)]
    _, found = warp_geojson(data, slide.maps[1], QUPATH, QUPATH)
    assert found.notes(slide.maps[1]) == []


def test_the_map_is_called_a_few_times_for_any_number_of_cells(
    slide: KnownSlide, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []
    original = PointMap.__call__
    monkeypatch.setattr(PointMap, "__call__", lambda self, points: calls.append(len(points)) or original(self, points))
    warp_geojson(cells(slide.side, 300), slide.maps[1], QUPATH, QUPATH)
    assert len(calls) < 12


def test_the_step_is_half_the_fields_spacing_in_source_pixels(slide: KnownSlide) -> None:
    assert slide.maps[0].step == slide.shrink / 2
    micrometres = Grid.of_pixels((144, 144), (0.25, 0.25))
    field = displacement_image(torch.zeros(1, 2, 9, 9), index_to_physical([4.0, 4.0]), index_to_physical([4.0, 4.0]))
    assert PointMap(field, micrometres, micrometres).step == 8
