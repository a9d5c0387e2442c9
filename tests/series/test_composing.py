"""A section brought over links that are known in closed form, written and read back like any other result."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from monai.transforms import Compose

from custom_components.commands.apply import apply
from custom_components.fields import (
    Link,
    apply_matrix,
    displacement_image,
    index_to_physical,
    read_displacement,
    transform_points,
)
from custom_components.inferers.result import Stage
from custom_components.outputs.prepared import Output
from custom_components.outputs.writer import POOR_SIMILARITY
from custom_components.pairs import read_image, read_points, write_image, write_points
from custom_components.series.composing import compose_registration, grid_to_pixels, write_section
from custom_components.series.sections import make_pair, read_sections
from custom_components.transforms import CommonPadd, ReadPaird, StainGreyd, WorkingSized

PLAIN = index_to_physical([1.0, 1.0])


def prepared(pair, size=320):
    keys = ["moving", "fixed"]
    return Compose([ReadPaird(), WorkingSized(keys, size), StainGreyd(keys), CommonPadd(keys)])({"pair": pair})


def exact_link(known, fixed, moving, unit=1.0):
    """The true registration of two sections, on a grid of every second pixel, in units of ``unit`` pixels."""
    grid = np.array([[2.0, 0, -20], [0, 2, -20], [0, 0, 1]])
    index = np.indices((180, 180)).reshape(2, -1).T
    goal = apply_matrix(np.linalg.inv(grid), known.between(fixed, moving, apply_matrix(grid, index)))
    ddf = torch.from_numpy((goal - index).T.reshape(1, 2, 180, 180))
    full = index_to_physical([unit, unit])
    return Link(displacement_image(ddf, full @ grid, full @ grid), full, full)


@pytest.fixture(scope="module")
def sections(known):
    return {section.id: section for section in read_sections(known.table)}


def chain(known, *names):
    units = (1.0, 0.25, 3.0)
    return [exact_link(known, *ends, unit) for *ends, unit in zip(names, names[1:], units, strict=False)]


@pytest.mark.parametrize("working_size", [320, 160])
def test_a_chain_over_other_sizes_and_units_is_the_closed_form_on_every_voxel(known, sections, working_size):
    data = prepared(make_pair(sections["d"], sections["a"], "d"), working_size)
    result = compose_registration(data, chain(known, "a", "b", "c", "d"))
    fixed, moving = grid_to_pixels(data, "fixed"), grid_to_pixels(data, "moving")
    index = np.indices(result.ddf.shape[2:]).reshape(2, -1).T
    wanted = known.between("a", "d", apply_matrix(fixed, index))
    found = apply_matrix(moving, index + result.ddf[0].flatten(1).T.double().numpy())
    np.testing.assert_allclose(found, wanted, atol=1e-3)
    back = apply_matrix(fixed, index + result.inverse[0].flatten(1).T.double().numpy())
    np.testing.assert_allclose(back, known.between("d", "a", apply_matrix(moving, index)), atol=0.02)


@pytest.fixture(scope="module")
def written(known, sections, tmp_path_factory):
    """Section d in the frame of a over b and c, by exact links."""
    root = tmp_path_factory.mktemp("written")
    pair = make_pair(sections["d"], sections["a"], "d")
    metrics = write_section(
        pair, prepared(pair), chain(known, "a", "b", "c", "d"), Output(root, report=False, note="over b and c"),
        steps=[Stage("b onto a", 2.0, {"matches": 9})], details={"series": {"x": 1}}, seconds=2.0,
    )  # fmt: skip
    return root / "d", metrics


def test_the_result_has_the_files_and_figures_of_a_pair(written):
    folder, metrics = written
    names = {file.name for file in folder.iterdir()}
    assert names == {
        "warped.png", "displacement.mha", "inverse_displacement.mha", "transform.h5", "warped_landmarks.csv",
        "warped_d.geojson", "metrics.json",
    }  # fmt: skip
    assert json.loads((folder / "metrics.json").read_text()) == metrics
    assert (metrics["status"], metrics["note"], metrics["series"]) == ("ok", "over b and c", {"x": 1})
    assert list(metrics["stages"]) == ["b onto a", "composition"]
    assert metrics["stages"]["composition"]["links"] == 3
    assert metrics["seconds"]["total"] > 2
    assert metrics["folding_share"] == 0
    assert metrics["inverse_error"]["median"] < 0.01


def test_landmarks_and_annotations_come_to_their_places_in_the_reference(written, known):
    folder, metrics = written
    np.testing.assert_allclose(read_points(folder / "warped_landmarks.csv"), known.places("a"), atol=0.02)
    assert metrics["landmarks"]["mean"] < 1e-4 < metrics["landmarks"]["initial_mean"]
    (moved,) = json.loads((folder / "warped_d.geojson").read_text())["features"]
    corner = np.array(moved["geometry"]["coordinates"][0][0][::-1])
    np.testing.assert_allclose(corner - 0.5, known.places("a")[0], atol=0.02)


def test_stored_fields_run_from_the_reference_to_the_section_and_back(written, known):
    folder, _ = written
    there = transform_points(read_displacement(folder / "displacement.mha"), known.places("a")[:, ::-1])
    np.testing.assert_allclose(there[:, ::-1], known.places("d"), atol=0.02)
    back = transform_points(read_displacement(folder / "inverse_displacement.mha"), known.places("d")[:, ::-1])
    np.testing.assert_allclose(back[:, ::-1], known.places("a"), atol=0.02)


def test_the_warped_image_is_the_reference_again(written, known):
    folder, _ = written
    warped, reference = (
        read_image(file).numpy().astype(float) for file in (folder / "warped.png", known.root / "a.png")
    )
    assert warped.shape == reference.shape
    inner = np.s_[:, 60:-60, 60:-60]
    # both were made of one picture, by one and by two interpolations
    assert np.abs(warped - reference)[inner].mean() < 6
    moving = read_image(known.root / "d.png").numpy()[:, :311, :309].astype(float)
    assert np.abs(moving - reference[..., :309])[inner].mean() > 15


def test_anything_else_is_carried_by_the_command_for_results(written, known, tmp_path):
    folder, _ = written
    write_points(tmp_path / "cells.csv", known.places("d"))
    field = str(folder)
    there = apply(field, points=str(tmp_path / "cells.csv"), output=str(tmp_path / "there.csv"))
    np.testing.assert_allclose(read_points(there), known.places("a"), atol=0.02)
    back = apply(field, points=there, direction="fixed_to_moving", output=str(tmp_path / "back.csv"))
    np.testing.assert_allclose(read_points(back), known.places("d"), atol=0.02)
    write_image(tmp_path / "other.png", read_image(known.root / "d.png").numpy())
    again = apply(field, image=str(tmp_path / "other.png"), output=str(tmp_path / "again.png"))
    assert (read_image(again) == read_image(folder / "warped.png")).all()


def test_the_reference_itself_does_not_change(known, sections, tmp_path):
    pair = make_pair(sections["a"], sections["a"], "a")
    metrics = write_section(pair, prepared(pair), [], Output(tmp_path, report=False))
    assert (metrics["status"], metrics["landmarks"]["max"]) == ("ok", pytest.approx(0, abs=1e-6))
    assert (read_image(tmp_path / "a" / "warped.png") == read_image(known.root / "a.png")).all()
    assert metrics["similarity"] > 0.95


def test_one_link_gives_the_field_of_that_link(known, sections):
    data = prepared(make_pair(sections["b"], sections["a"], "b"))
    link = exact_link(known, "a", "b")
    result = compose_registration(data, [link])
    grid = grid_to_pixels(data, "fixed")
    index = np.indices(result.ddf.shape[2:]).reshape(2, -1).T
    inside = (apply_matrix(grid, index) > -20).all(axis=1) & (apply_matrix(grid, index) < 338).all(axis=1)
    stored = transform_points(link.displacement, apply_matrix(grid, index)[:, ::-1])[:, ::-1]
    found = apply_matrix(grid_to_pixels(data, "moving"), index + result.ddf[0].flatten(1).T.double().numpy())
    np.testing.assert_allclose(found[inside], stored[inside], atol=1e-3)


def test_doubts_and_a_wrong_chain_make_a_result_poor(known, sections, tmp_path):
    pair = make_pair(sections["d"], sections["a"], "d")
    output = Output(tmp_path, report=False)
    doubted = write_section(pair, prepared(pair), chain(known, "a", "d"), output, warnings=["it folds"])
    assert (doubted["status"], doubted["reason"]) == ("poor", "it folds")
    lost = [Link(displacement_image(torch.full((1, 2, 9, 9), 70.0), PLAIN, PLAIN), PLAIN, PLAIN)]
    wrong = write_section(pair, prepared(pair), lost, output)
    assert wrong["status"] == "poor"
    assert wrong["similarity"] < POOR_SIMILARITY
