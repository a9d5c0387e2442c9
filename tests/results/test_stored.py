"""A result opened again, against affine maps known in closed form, in both directions, of sections and volumes."""

from __future__ import annotations

import copy
import json
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from custom_components.common.errors import InputError
from custom_components.fields import Grid, image_vectors, index_to_physical, read_displacement
from custom_components.outputs.writer import write_failure
from custom_components.pairs import Pair, read_geojson, read_image, read_points, write_image, write_points
from custom_components.results.stored import DIRECTIONS, StoredRegistration, open_result, source_and_target

both_ways = pytest.mark.parametrize("direction", DIRECTIONS)


def inner_points(grid: Grid, number: int = 40) -> np.ndarray:
    """(N, D) pixels well inside an image."""
    return np.random.default_rng(0).uniform(0.3, 0.7, (number, len(grid.shape))) * grid.shape


def scene(points: np.ndarray) -> np.ndarray:
    """A smooth picture, (..., D) -> value, that is defined everywhere."""
    return 120 + 40 * np.sin(points[..., -2] / 13) * np.cos(points[..., -1] / 11) + points[..., 0] / 2


def pixels(grid: Grid) -> np.ndarray:
    return np.stack(np.indices(grid.shape), -1).astype(np.float64)


def inside(points: np.ndarray, grid: Grid, rim: float = 1.5) -> np.ndarray:
    return ((points >= rim) & (points <= np.array(grid.shape) - 1 - rim)).all(axis=-1)


# what it says


def test_a_result_says_what_its_record_does(known):
    stored = open_result(known.folder)
    assert (stored.id, stored.status, stored.reason, stored.folder) == ("IHC_to_HE", "ok", "", known.folder)
    assert stored.dimensions == len(known.fixed.shape)
    assert (stored.unit, stored.field_file, stored.inverse_file) == (known.fixed.unit, known.field, known.inverse)
    assert (stored.moving, stored.fixed) == (Path("moving.tif"), Path("fixed.tif"))
    for side in ("moving", "fixed"):
        grid = getattr(known, side)
        assert stored.grid(side).same_space(grid)
        assert stored.grid(side).known == grid.known
    sizes = [stored.pixel_size(side) for side in ("moving", "fixed")]
    assert sizes == ([(0.25, 0.25), (0.5, 0.5)] if stored.dimensions == 2 else [None, None])
    assert stored.metrics == json.loads((known.folder / "metrics.json").read_text())
    assert str(known.folder) in repr(stored)


@both_ways
def test_any_file_of_a_result_opens_it(known, direction):
    points = inner_points(known.fixed)
    wanted = StoredRegistration(known.folder).points(points, direction)
    for name in ("warped.nii.gz", "warped_labels.mha", "error_estimate.mha", "report.html", "transform.h5"):
        (known.folder / name).touch()
    for file in sorted(known.folder.iterdir()):
        for given in (file, str(file)):
            stored = open_result(given)
            assert (stored.folder, stored.field_file) == (known.folder, known.field)
        np.testing.assert_array_equal(stored.points(points, direction), wanted)


def test_a_field_under_another_name_is_taken_with_its_inverse(make_result):
    known = make_result(2)
    for file in (known.field, known.inverse):
        file.rename(file.with_name(file.name.replace("displacement", "refined")))
    stored = open_result(known.folder / "refined.mha")
    assert stored.inverse_file == open_result(known.folder / "inverse_refined.mha").inverse_file
    points = inner_points(known.fixed)
    np.testing.assert_allclose(
        stored.points(points, "fixed_to_moving"), known.map(points, "fixed_to_moving"), atol=1e-3
    )
    with pytest.raises(InputError, match=r"IHC_to_HE/displacement\.mha does not exist"):
        open_result(known.folder)


def test_images_are_found_from_another_current_folder(make_result, tmp_path, monkeypatch):
    known = make_result(2)
    here, there = tmp_path / "here", tmp_path / "there"
    for folder in (here, there):
        folder.mkdir()
        (folder / "moving.tif").touch()
    known.change(run={"inputs": {"moving": {"path": str(here / "moving.tif")}}})
    monkeypatch.chdir(here)
    assert StoredRegistration(known.folder).moving == Path("moving.tif")
    monkeypatch.chdir(there)  # where another file has that name
    assert StoredRegistration(known.folder).moving == here / "moving.tif"
    # links stay as they were given
    (there / "link.tif").symlink_to(here / "moving.tif")
    known.change(moving=str(there / "link.tif"))
    assert StoredRegistration(known.folder).moving == there / "link.tif"


def test_the_result_of_a_failed_pair_opens_and_says_why_it_has_nothing_else(tmp_path):
    write_failure(Pair("a", Path("m.png"), Path("f.png")), "too few matches", tmp_path, 1.0)
    stored = StoredRegistration(tmp_path / "a")
    assert (stored.id, stored.status, stored.reason, stored.unit) == ("a", "failed", "too few matches", "")
    assert (stored.moving.name, stored.fixed.name) == ("m.png", "f.png")
    for use in (
        lambda: stored.grid("fixed"), lambda: stored.dimensions, stored.field, stored.inverse,
        lambda: stored.points([[1.0, 2.0]]), lambda: stored.warp(np.zeros((1, 9, 9))),
        lambda: stored.geojson({"type": "Point", "coordinates": [1, 2]}), lambda: stored.points_file("a.csv"),
        lambda: stored.warp_file("a.png"), lambda: open_result(tmp_path / "a"),
        lambda: StoredRegistration(tmp_path / "a" / "displacement.mha").points_file("a.csv"),
    ):  # fmt: skip
        with pytest.raises(InputError, match=r"a/metrics\.json: the pair was not registered \(too few matches\)"):
            use()


# the fields


def test_a_field_is_that_of_the_file_and_read_once(known, monkeypatch):
    stored = StoredRegistration(known.folder)
    for found, file in ((stored.field(), known.field), (stored.inverse(), known.inverse)):
        np.testing.assert_array_equal(image_vectors(found), image_vectors(read_displacement(file)))
    monkeypatch.setattr("custom_components.results.folder.read_displacement", lambda _: pytest.fail("read again"))
    assert stored.field() is stored.field()
    stored.points(inner_points(known.moving))


@both_ways
def test_a_field_on_any_grid_is_in_its_voxels(known, direction):
    stored = StoredRegistration(known.folder)
    source, target = known.grids(direction)
    function = stored.inverse if direction == "moving_to_fixed" else stored.field
    start, end = source.shrunk(0.4), target.averaged(3)
    for ddf, goal in ((function(start, end), end), (function(start), target)):
        assert (ddf.dtype, tuple(ddf.shape)) == (torch.float32, (1, len(start.shape), *start.shape))
        index = pixels(start)
        flat = index.reshape(-1, len(start.shape))
        places = known.map(source.index(start.physical(flat)), direction)
        wanted = goal.index(target.physical(places)).reshape(index.shape) - index
        np.testing.assert_allclose(np.moveaxis(ddf[0].numpy(), 0, -1), wanted, atol=2e-3)


def test_a_grid_in_another_unit_is_refused(known):
    stored = StoredRegistration(known.folder)
    with pytest.raises(InputError, match=rf"counts in {stored.unit}s, but the grid in pixels"):
        stored.field(Grid.of_pixels(known.fixed.shape))
    with pytest.raises(InputError, match="but the grid in pixels"):
        stored.inverse(known.moving, Grid.of_pixels(known.fixed.shape))


# carrying over


@both_ways
def test_points_agree_with_the_closed_form(known, direction):
    stored, points = StoredRegistration(known.folder), inner_points(known.grids(direction)[0])
    found = stored.points(points, direction)
    np.testing.assert_allclose(found, known.map(points, direction), atol=1e-3)
    np.testing.assert_array_equal(stored.points(points.tolist(), direction), found)
    back = "_to_".join(reversed(source_and_target(direction)))
    np.testing.assert_allclose(stored.points(found, back), points, atol=2e-3)
    assert stored.points(points[:0], direction).shape == (0, len(known.fixed.shape))


def test_points_of_another_form_are_refused(known):
    stored = StoredRegistration(known.folder)
    for wrong in (np.zeros((3, 5)), np.zeros(stored.dimensions)):
        with pytest.raises(InputError, match=rf"IHC_to_HE are \(N, {stored.dimensions}\), got \(.*\)"):
            stored.points(wrong)


@both_ways
@pytest.mark.parametrize("dtype", [np.float32, np.uint8])
def test_an_image_agrees_with_the_closed_form(known, direction, dtype):
    source, target = known.grids(direction)
    image = np.stack([scene(pixels(source)), np.full(source.shape, 7)]).astype(dtype)
    places = known.map(pixels(target), "_to_".join(reversed(source_and_target(direction))))
    good = inside(places, source)
    assert good.mean() > 0.3
    stored = StoredRegistration(known.folder)
    found = stored.warp(image, direction)
    assert (found.dtype, found.shape) == (dtype, (2, *target.shape))
    # linear interpolation of the scene, and whole numbers, which are rounded there and here
    assert np.abs(found[0] - scene(places))[good].max() < 1 + 1.5 * (dtype == np.uint8)
    assert (found[1] == 7).all()
    np.testing.assert_array_equal(stored.warp(torch.from_numpy(image), direction), found)


@both_ways
def test_labels_keep_their_values_and_have_none_beyond_their_image(known, direction):
    source, target = known.grids(direction)
    half = source.shape[-1] / 2
    labels = np.where(pixels(source)[..., -1] > half, 9, 4).astype(np.uint8)[None]
    found = StoredRegistration(known.folder).labels(labels, direction)[0]
    places = known.map(pixels(target), "_to_".join(reversed(source_and_target(direction))))
    sure = inside(places, source) & (np.abs(places[..., -1] - half) > 1.1)
    np.testing.assert_array_equal(found[sure], np.where(places[..., -1] > half, 9, 4)[sure])
    outside = ~inside(places, source, -1)
    assert outside.any()
    assert (found[outside] == 0).all()


@both_ways
def test_an_image_of_a_file_keeps_its_dtype_and_what_is_written_is_what_is_given(make_result, tmp_path, direction):
    known = make_result(2)
    source, target = known.grids(direction)
    write_image(tmp_path / "other.tif", scene(pixels(source)).round().astype(np.uint16)[None])
    stored = StoredRegistration(known.folder)
    found = stored.warp(read_image(tmp_path / "other.tif"), direction)
    assert (found.dtype, found.shape) == (np.uint16, (1, *target.shape))
    written = stored.warp_file(tmp_path / "other.tif", direction=direction)
    assert written == known.folder / "warped_other.tif"
    again = read_image(written)
    np.testing.assert_array_equal(again.numpy(), found)
    assert again.meta["pixel_size"] == pytest.approx(stored.pixel_size(source_and_target(direction)[1]), rel=1e-3)


def test_another_sequence_of_the_subject_is_placed_by_its_own_header(make_result, tmp_path):
    known = make_result(3)
    finer = known.moving.finer(2)
    for name, grid in (("same", known.moving), ("finer", finer)):
        places = known.moving.index(grid.physical(pixels(grid).reshape(-1, 3))).reshape(*grid.shape, 3)
        write_image(tmp_path / f"{name}.nii.gz", scene(places).astype(np.float32)[None], grid.matrix)
    stored = StoredRegistration(known.folder)
    same, found = (stored.warp(read_image(tmp_path / f"{name}.nii.gz")) for name in ("same", "finer"))
    good = inside(known.map(pixels(known.fixed), "fixed_to_moving"), known.moving)
    assert np.abs(same - found)[0, good].max() < 1
    elsewhere = Grid(finer.shape, index_to_physical([1, 1, 1], [900.0, 0, 0]), "millimetre")
    write_image(tmp_path / "elsewhere.nii.gz", np.zeros((1, *finer.shape), np.float32), elsewhere.matrix)
    with pytest.raises(
        InputError, match=r"elsewhere\.nii\.gz is 52 x 60 x 44 pixels, .* moving image has 26 x 30 x 22"
    ):
        stored.warp(read_image(tmp_path / "elsewhere.nii.gz"))


def test_an_image_of_another_size_is_refused_with_both_sizes(known):
    stored = StoredRegistration(known.folder)
    size = " x ".join(map(str, reversed(known.moving.shape)))
    for shape in ((9,) * len(known.fixed.shape), (9,) * (len(known.fixed.shape) + 1)):
        with pytest.raises(
            InputError, match=rf"image given is 9 x 9.* pixels, but the registered moving image has {size}"
        ):
            stored.warp(np.zeros((1, *shape)))


@both_ways
def test_geojson_agrees_with_the_closed_form_and_is_a_copy(make_result, tmp_path, direction):
    known = make_result(2)
    corners = inner_points(known.grids(direction)[0])[[0, 1, 2, 0]]
    feature = {
        "type": "Feature", "id": "f1", "properties": {"name": "Tumour"},
        # QuPath's coordinates begin at the outer corner of the first pixel
        "geometry": {"type": "Polygon", "coordinates": [(corners[:, ::-1] + 0.5).tolist()]},
    }  # fmt: skip
    given, stored = {"type": "FeatureCollection", "features": [feature]}, StoredRegistration(known.folder)
    before = copy.deepcopy(given)
    found = stored.geojson(given, direction)
    assert given == before
    (moved,) = found["features"]
    assert (moved["id"], moved["properties"]) == ("f1", feature["properties"])
    ends = np.array(moved["geometry"]["coordinates"][0])[:, ::-1] - 0.5
    np.testing.assert_allclose(ends, known.map(corners, direction), atol=2e-3)
    (tmp_path / "a.geojson").write_text(json.dumps(given))
    path, notes = stored.geojson_file(tmp_path / "a.geojson", direction=direction)
    assert (path, notes) == (known.folder / "warped_a.geojson", [])
    assert read_geojson(path) == found
    # micrometres from the first pixel's centre
    source, target = (stored.pixel_size(side)[0] for side in source_and_target(direction))
    point = {"type": "Point", "coordinates": (corners[0, ::-1] * source).tolist()}
    moved = stored.geojson(point, direction, unit="micrometre", origin="centre")
    np.testing.assert_allclose(
        np.array(moved["coordinates"])[::-1] / target, known.map(corners[0], direction), atol=5e-3
    )


@both_ways
def test_a_table_of_points_is_what_the_points_are(make_result, tmp_path, direction):
    known = make_result(2)
    points = inner_points(known.grids(direction)[0])
    write_points(tmp_path / "cells.csv", points)
    stored = StoredRegistration(known.folder)
    path, notes = stored.points_file(tmp_path / "cells.csv", tmp_path / "moved.csv", direction)
    assert (path, notes) == (tmp_path / "moved.csv", [])
    np.testing.assert_allclose(read_points(path), stored.points(points, direction), atol=1e-3)
    with pytest.raises(InputError, match="--overwrite"):
        stored.points_file(tmp_path / "cells.csv", path, direction)
    with pytest.raises(InputError, match="is an input"):
        stored.points_file(tmp_path / "cells.csv", stored.field_file, direction, overwrite=True)


def test_geojson_of_volumes_is_refused(make_result, tmp_path):
    known = make_result(3)
    stored = StoredRegistration(known.folder)
    for use in (
        lambda: stored.geojson_file(tmp_path / "a.geojson"),
        lambda: stored.geojson({"type": "Point", "coordinates": [1, 2]}),
    ):
        with pytest.raises(InputError, match="is a registration of volumes"):
            use()


def test_the_program_of_the_docs_does_what_it_says(make_result, repository, tmp_path, monkeypatch):
    known = make_result(2)
    known.change(similarity=0.5)
    write_image(tmp_path / "other.tif", np.zeros((1, *known.moving.shape), np.uint8))
    monkeypatch.chdir(tmp_path)
    programs = re.findall(r"```python\n(.*?)```", (repository / "docs/outputs.md").read_text(), re.DOTALL)
    (program,) = [program for program in programs if "open_result" in program]
    found: dict[str, np.ndarray] = {}
    exec(program, found)
    np.testing.assert_allclose(found["fixed"], known.map(np.array([[60.0, 100.0]]), "moving_to_fixed"), atol=1e-3)
    np.testing.assert_allclose(found["moving"], [[60, 100]], atol=2e-3)
    assert (known.folder / "warped_other.tif").is_file()


# what is wrong


def test_another_direction_is_refused(known):
    stored = StoredRegistration(known.folder)
    for use in (
        stored.way, lambda way: stored.points(inner_points(known.fixed), way), lambda way: stored.labels([[[1]]], way),
        lambda way: stored.warp_file("a.tif", direction=way), lambda way: stored.points_file("a.csv", direction=way),
    ):  # fmt: skip
        with pytest.raises(InputError, match="moving_to_fixed or fixed_to_moving, got 'back'"):
            use("back")


def test_what_is_no_result_is_told_with_the_way_out(make_result, tmp_path):
    first, second = make_result(2, "a"), make_result(2, "b")
    with pytest.raises(
        InputError, match=r"out holds no metrics\.json but the results of 2 pairs \(a, b\); give .*out/a$"
    ):
        open_result(first.folder.parent)
    with pytest.raises(InputError, match=r"gone does not exist"):
        open_result(tmp_path / "gone")
    with pytest.raises(InputError, match=r"holds no metrics\.json of a registration"):
        open_result(tmp_path)
    (tmp_path / "notes.txt").touch()
    with pytest.raises(InputError, match=r"holds no metrics\.json of a registration"):
        open_result(tmp_path / "notes.txt")
    (second.folder / "metrics.json").write_text("{")
    with pytest.raises(InputError, match=r"b/metrics\.json is damaged"):
        open_result(second.folder)


@pytest.mark.parametrize("given", ["folder", "field", "inverse"])
def test_each_missing_part_is_named(known, given):
    for file in (known.field, known.inverse):
        kept = file.with_suffix(".kept")
        shutil.move(file, kept)
        with pytest.raises(InputError, match=rf"displacement field {file} does not exist"):
            open_result(getattr(known, given))
        shutil.move(kept, file)
    for entry in ("moving_grid", "fixed_grid"):
        taken = json.loads((known.folder / "metrics.json").read_text())[entry]
        known.change(**{entry: None})
        with pytest.raises(InputError, match=rf"holds no size of the {entry[:-5]} image; register the pair again"):
            open_result(getattr(known, given))
        known.change(**{entry: taken})
    os.remove(known.folder / "metrics.json")
    with pytest.raises(InputError, match=r"metrics\.json does not exist; keep it beside the displacement field"):
        open_result(getattr(known, given))


def test_a_field_that_is_none_is_named(known):
    known.field.write_bytes(b"no field")
    with pytest.raises(InputError, match=rf"displacement field {known.field} is not readable"):
        StoredRegistration(known.folder).field()
    write_image(known.folder / "labels.mha", np.zeros((1, 9, 9), np.uint8))
    with pytest.raises(InputError, match=r"labels\.mha is not a displacement field: 1 components in 2-D"):
        StoredRegistration(known.folder / "labels.mha").field()
