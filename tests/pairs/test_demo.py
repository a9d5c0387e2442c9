"""The demo pair: real where it says so, and true where it claims to know the answer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.ndimage import map_coordinates
from skimage import color, data

from custom_components.fields import jacobian_determinant
from custom_components.pairs import check_pair, read_geojson, read_image, read_pairs, read_points
from custom_components.pairs.demo import haematoxylin_only, smooth_field, write_demo_pair
from custom_components.pairs.table import Pair

SIDE, ROTATION, LARGEST, SEED = 512, 25.0, 12.0, 0


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    return write_demo_pair(tmp_path_factory.mktemp("demo") / "new" / "folder", SEED, ROTATION, LARGEST)


def to_fixed(moving: np.ndarray) -> np.ndarray:
    """The known deformation at (N, 2) points of the moving grid: bent by the smooth field, then turned."""
    bend = smooth_field((SIDE, SIDE), LARGEST, 60.0, SEED)[0].numpy()
    bent = moving + np.stack([map_coordinates(c, moving.T, order=1, mode="nearest") for c in bend], axis=1)
    angle, centre = np.deg2rad(ROTATION), (SIDE - 1) / 2
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return np.asarray((bent - centre) @ turn.T + centre)


def test_the_folder_holds_a_whole_pair(pair: Pair) -> None:
    names = {p.name for p in pair.fixed.parent.iterdir()}
    landmarks = {"fixed_landmarks.csv", "moving_landmarks.csv"}
    assert names == landmarks | {"fixed.png", "moving.png", "moving_annotations.geojson", "pairs.csv", "README.txt"}
    assert read_pairs(pair.fixed.parent / "pairs.csv") == [pair]
    check_pair(pair)


def test_the_fixed_image_is_the_real_one(pair: Pair) -> None:
    np.testing.assert_array_equal(read_image(pair.fixed), np.moveaxis(data.immunohistochemistry(), -1, 0))


def test_the_note_says_what_is_made(pair: Pair) -> None:
    note = (pair.fixed.parent / "README.txt").read_text()
    assert "half real, half made" in note
    assert f"{ROTATION} degrees" in note
    assert f"{LARGEST} pixels" in note
    assert f"seed {SEED}" in note


def test_landmarks_are_exact(pair: Pair) -> None:
    assert pair.moving_landmarks is not None
    assert pair.fixed_landmarks is not None
    moving, fixed = read_points(pair.moving_landmarks), read_points(pair.fixed_landmarks)
    assert moving.shape == fixed.shape
    assert len(fixed) >= 60
    assert np.linalg.norm(to_fixed(moving) - fixed, axis=1).max() < 0.01
    assert np.linalg.norm(moving - fixed, axis=1).mean() > 40  # there is something to register
    for points in (moving, fixed):
        assert points.min() > 0
        assert points.max() < SIDE - 1


def test_the_moving_image_shows_the_haematoxylin_at_the_landmarks(pair: Pair) -> None:
    """Around every landmark it equals the rendering of the real image, read through the known deformation."""
    assert pair.moving_landmarks is not None
    rendering = haematoxylin_only(data.immunohistochemistry()).astype(np.float64)
    moving = read_image(pair.moving).numpy()
    assert moving.shape == (3, SIDE, SIDE)
    assert moving.dtype == np.uint8
    around = np.round(read_points(pair.moving_landmarks)).astype(int)
    around = (around[:, None] + np.array([[0, 0], [3, -2], [-4, 5]])).reshape(-1, 2)
    for channel in range(3):
        wanted = map_coordinates(rendering[..., channel], to_fixed(around.astype(float)).T, order=1)
        np.testing.assert_allclose(moving[channel][tuple(around.T)], wanted, atol=0.51)
    assert (moving[:, 0, 0] == 255).all()  # glass where the turned image does not reach


def test_the_annotation_is_a_circle_in_the_fixed_image(pair: Pair) -> None:
    assert pair.moving_annotations is not None
    feature = read_geojson(pair.moving_annotations)["features"][0]
    ring = np.array(feature["geometry"]["coordinates"][0])
    assert ring[0].tolist() == pytest.approx(ring[-1].tolist(), abs=1e-9)
    radius = np.linalg.norm(to_fixed(ring[:, ::-1] - 0.5) - 256, axis=1)  # from the first pixel's outer corner
    np.testing.assert_allclose(radius, 60, atol=0.01)


def test_the_smooth_field_is_bounded_repeatable_and_free_of_folds() -> None:
    field = smooth_field((96, 80), 5.0, 20.0, 3)
    assert field.shape == (1, 2, 96, 80)
    assert float(field.abs().max()) == pytest.approx(5)
    assert torch.equal(field, smooth_field((96, 80), 5.0, 20.0, 3))
    assert not torch.equal(field, smooth_field((96, 80), 5.0, 20.0, 4))
    assert jacobian_determinant(smooth_field((SIDE, SIDE), LARGEST, 60.0, SEED)).min() > 0.3


def test_haematoxylin_alone_remains() -> None:
    image = data.immunohistochemistry()[:64, :80]
    alone = haematoxylin_only(image)
    assert alone.shape == image.shape
    assert alone.dtype == np.uint8
    stains, before = color.rgb2hed(alone), color.rgb2hed(image)
    assert np.abs(stains[..., 1:]).max() < 0.02 < before[..., 2].max()
    kept = alone.min(axis=-1) > 20  # darker pixels lost depth to rounding
    np.testing.assert_allclose(stains[kept][:, 0], before[kept][:, 0], atol=0.02)


def test_without_rotation_and_bend_points_stay(tmp_path: Path) -> None:
    pair = write_demo_pair(tmp_path, rotation=0.0, largest=0.0)
    assert pair.moving_landmarks is not None
    assert pair.fixed_landmarks is not None
    np.testing.assert_allclose(read_points(pair.moving_landmarks), read_points(pair.fixed_landmarks), atol=1e-6)
    rendering = np.moveaxis(haematoxylin_only(data.immunohistochemistry()), -1, 0)
    np.testing.assert_array_equal(read_image(pair.moving), rendering)
