"""A request's registration against the user's command, and what is said of it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from monai.bundle import run
from skimage import data, transform

from custom_components.pairs import Pair, write_image, write_points
from custom_components.serving import RequestError, build_answer, find_bundles, register

ROOT = Path(__file__).resolve().parents[2]
TURN = transform.AffineTransform(rotation=np.deg2rad(8), translation=(14, -8))
OPTIONS = {"working_size": 256, "report": False}


@pytest.fixture(scope="module")
def pair(tmp_path_factory) -> Pair:
    """Two images that differ by a known affine."""
    folder = tmp_path_factory.mktemp("pair")
    fixed = (
        (transform.resize(data.immunohistochemistry(), (256, 256), anti_aliasing=True) * 255).round().astype(np.uint8)
    )
    moving = (transform.warp(fixed, TURN.inverse, cval=0.93) * 255).round().astype(np.uint8)
    for name, image in (("fixed", fixed), ("moving", moving)):
        write_image(folder / f"{name}.png", np.moveaxis(image, -1, 0))
    marks = np.array([[90.0, 100.0], [150.0, 120.0]])
    write_points(folder / "marks.csv", marks)
    (folder / "regions.geojson").write_text(json.dumps({"type": "Point", "coordinates": [100.5, 90.5]}))
    return Pair("a b", folder / "moving.png", folder / "fixed.png", moving_landmarks=folder / "marks.csv",
                moving_annotations=folder / "regions.geojson")  # fmt: skip


@pytest.fixture(autouse=True)
def _from_the_root(monkeypatch):
    monkeypatch.chdir(ROOT)


@pytest.fixture(scope="module")
def served(pair, tmp_path_factory):
    """(metrics, folder) as a server makes them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        output = tmp_path_factory.mktemp("served")
        bundle = find_bundles(ROOT / "bundles", ["hybrid_matching"])["hybrid_matching"]
        return register(bundle, pair, OPTIONS, output), output / pair.id


@pytest.mark.slow
def test_files_are_byte_for_byte_those_of_the_command_line(pair, served, tmp_path):
    names = ("moving", "fixed", "moving_landmarks", "moving_annotations")
    run(config_file="bundles/hybrid_matching/configs/inference.yaml", output_dir=str(tmp_path), id=pair.id, **OPTIONS,
        **{name: str(getattr(pair, name)) for name in names})  # fmt: skip
    written = {path.name for path in served[1].iterdir()}
    assert written == {path.name for path in (tmp_path / pair.id).iterdir()}
    for name in written - {"metrics.json", "transform.h5"}:  # these hold times
        assert (served[1] / name).read_bytes() == (tmp_path / pair.id / name).read_bytes(), name


@pytest.mark.slow
def test_the_affine_is_the_one_between_the_images_in_pixels(pair, served):
    answer = build_answer(*served[:1], pair, served[1], "/registrations/m/a b")
    fixed = np.array([[60.0, 70.0, 1], [200, 80, 1], [120, 190, 1]])
    # skimage's transform maps x, y of fixed to moving
    np.testing.assert_allclose(fixed @ np.array(answer["affine"]).T, TURN(fixed[:, :2]), atol=2.0)


@pytest.mark.slow
def test_points_and_annotations_come_back_in_x_y(pair, served):
    answer = build_answer(*served[:1], pair, served[1], "/u")
    truth = TURN.inverse(np.array([[100.0, 90.0], [120.0, 150.0]]))
    np.testing.assert_allclose(answer["points"], truth, atol=2.0)
    # an annotation counts from the outer corner of the first pixel in thousandths, a point from its middle
    np.testing.assert_allclose(np.array(answer["annotations"]["coordinates"]) - 0.5, answer["points"][0], atol=1e-3)
    assert answer["files"]["displacement.mha"] == "/u/displacement.mha"
    assert str(pair.moving.parent) not in json.dumps(answer)
    json.dumps(answer, allow_nan=False)


@pytest.mark.parametrize("side", ["moving", "fixed"])
def test_an_image_that_can_not_be_read_is_the_request_s_fault(side, pair, tmp_path):
    bad = tmp_path / "words.png"
    bad.write_text("no picture at all")
    both = {"moving": pair.moving, "fixed": pair.fixed, side: bad}
    bundle = find_bundles(ROOT / "bundles", ["hybrid_matching"])["hybrid_matching"]
    parameter = {"moving": "image", "fixed": "fixed"}[side]
    with pytest.raises(RequestError, match=f"^{parameter}: image .*words.png can't be read") as refused:
        register(bundle, Pair("x", **both), OPTIONS, tmp_path / "out")
    assert refused.value.status == 422


@pytest.mark.slow
def test_a_pair_that_can_not_be_aligned_is_an_answer(pair, tmp_path):
    write_image(tmp_path / "retina.png", np.moveaxis(data.retina()[400:656, 400:656], -1, 0))
    other = Pair("x", tmp_path / "retina.png", pair.fixed)
    bundle = find_bundles(ROOT / "bundles", ["hybrid_matching"])["hybrid_matching"]
    metrics = register(bundle, other, OPTIONS, tmp_path / "out")
    answer = build_answer(metrics, other, tmp_path / "out" / "x", "/u")
    assert answer["status"] == "failed"
    assert "no consistent alignment" in answer["reason"]
    assert "affine" not in answer
