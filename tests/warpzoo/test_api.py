"""Two images in Python, a registration out: every form of image, both directions, nothing left behind."""

from __future__ import annotations

import gc
import os
from pathlib import Path
from types import SimpleNamespace

import itk
import numpy as np
import pytest
import shapely
import SimpleITK as sitk
import torch
from monai.data import MetaTensor
from skimage.io import imread

import warpzoo
from custom_components.common.errors import InputError, RegistrationError
from custom_components.pairs import read_geojson, read_points
from custom_components.pairs.demo import write_demo_pair

POINTS = np.array([[100.0, 120.0], [300.0, 200.0]])


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    return write_demo_pair(tmp_path_factory.mktemp("demo"))


@pytest.fixture(scope="module")
def result(pair):
    return warpzoo.register(pair.moving, pair.fixed, quality="fast")


def test_paths_give_a_registration_that_is_right(pair, result):
    assert result.status == "ok"
    assert result.reason == ""
    moving, fixed = (read_points(file)[:, ::-1] for file in (pair.moving_landmarks, pair.fixed_landmarks))
    assert np.linalg.norm(result.points(moving) - fixed, axis=1).mean() < 4
    back = result.points(result.points(POINTS), direction="fixed_to_moving")
    assert np.abs(back - POINTS).max() < 0.05
    image = imread(pair.moving)
    assert np.array_equal(result.warp(image), result.warped)
    assert np.array_equal(result.warp(pair.moving), result.warped)
    assert result.warp(image[..., 0]).shape == image.shape[:2]


@pytest.mark.parametrize(
    "form",
    ["array", "MetaTensor", *(pytest.param(form, marks=pytest.mark.slow) for form in ("tensor", "SimpleITK", "itk"))],
)
def test_images_in_memory_give_what_their_files_give(form, pair, result):
    moving, fixed = (imread(file) for file in (pair.moving, pair.fixed))
    made = {
        "array": lambda image: image,
        "tensor": torch.from_numpy,
        "MetaTensor": lambda image: MetaTensor(np.moveaxis(image, -1, 0).copy()),
        "SimpleITK": lambda image: sitk.GetImageFromArray(image, isVector=True),
        "itk": lambda image: itk.image_from_array(image, is_vector=True),
    }[form]
    found = warpzoo.register(made(moving), made(fixed), quality="fast")
    assert found.status == "ok"
    assert np.abs(found.points(POINTS) - result.points(POINTS)).max() < 0.01


def test_a_pixel_size_of_arrays_is_that_of_the_result(pair):
    moving, fixed = (imread(file) for file in (pair.moving, pair.fixed))
    found = warpzoo.register(moving, fixed, moving_spacing=0.5, fixed_spacing=(0.5, 0.5), quality="fast")
    assert found.metrics["unit"] == "micrometre"
    assert found.metrics["fixed_pixel_size"] == pytest.approx([0.5, 0.5])


def test_a_volume_is_registered(tmp_path):
    noise = np.random.default_rng(0).random((40, 44, 48)).astype(np.float32)
    from scipy.ndimage import gaussian_filter, shift

    fixed = gaussian_filter(noise, 3)
    options = {
        "weights": str(Path(warpzoo.__file__).resolve().parents[1] / "bundles/semantic_similarity/models/volume.pt"),
        "spatial_dims": 3, "channels": [8, 16, 32],
    }  # fmt: skip
    found = warpzoo.register(
        shift(fixed, 1.0, mode="nearest"), fixed, "semantic_similarity",
        moving_spacing=(1, 1, 1), fixed_spacing=(1, 1, 1), **options,
    )  # fmt: skip
    assert found.warped.shape == fixed.shape
    assert found.points([[20.0, 20.0, 20.0]]).shape == (1, 3)
    assert found.metrics["unit"] == "millimetre"


def test_annotations_are_carried_and_the_result_is_saved_opened_and_reported(pair, tmp_path):
    result = warpzoo.register(pair.moving, pair.fixed, quality="fast")
    carried = result.geojson(pair.moving_annotations)
    assert len(carried["features"]) > 0
    frame = SimpleNamespace(__geo_interface__=read_geojson(pair.moving_annotations))  # as a GeoDataFrame has it
    assert result.geojson(frame) == carried
    assert result.geojson(shapely.box(20, 20, 40, 40))["type"] == "Polygon"
    temporary = result.folder
    saved = result.save(tmp_path / "mine" / "pair")
    opened = warpzoo.open(saved)
    assert opened.geojson(pair.moving_annotations) == carried
    assert opened.report().read_text().startswith("<!")
    assert "ok" in repr(opened)
    with pytest.raises(InputError, match="exists already"):
        result.save(saved)
    del result
    gc.collect()
    assert not temporary.exists()
    assert opened.warped.ndim == 3


def test_a_folder_is_written_as_by_the_command_line(pair, tmp_path):
    result = warpzoo.register(pair.moving, pair.fixed, output_dir=tmp_path / "out", id="mine", quality="fast")
    assert result.folder == tmp_path / "out" / "mine"
    assert (tmp_path / "out" / "mine" / "report.html").is_file()


def test_neither_the_current_folder_nor_the_console_is_touched(pair, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    warpzoo.register(pair.moving, pair.fixed, quality="fast")
    assert Path.cwd() == tmp_path
    assert os.listdir(tmp_path) == []
    assert capfd.readouterr().out == ""


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"workin_size": 3}, InputError, "no key 'workin_size'; did you mean 'working_size'"),
        ({"method": "hybrid"}, InputError, "unknown bundle 'hybrid'"),
        ({"min_matches": 100000, "quality": "fast"}, RegistrationError, "matches"),
    ],
)
def test_what_is_wrong_is_raised(options, error, message, pair):
    with pytest.raises(error, match=message):
        warpzoo.register(pair.moving, pair.fixed, **options)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        ("nowhere.png", "nowhere.png does not exist"),
        (np.zeros((4, 5, 6, 7)), "an array is"),
        (np.full((8, 8), np.nan), "not finite"),
        (np.array([["a"]]), "holds numbers"),
    ],
)
def test_what_is_no_image_is_said(image, message, pair):
    with pytest.raises(InputError, match=message):
        warpzoo.register(image, pair.fixed)
