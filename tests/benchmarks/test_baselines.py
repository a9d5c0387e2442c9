"""Baselines recover known motions, in the direction that they promise."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from benchmarks.dis_baseline import dis_ddf, grey
from benchmarks.xfeat_baseline import apply_affine, robust_affine, swap_axes, warp_to_fixed

SHIFT = np.array([3.0, -5.0])  # (row, col): where moving content goes to in the fixed image


def _texture(seed: int = 0, size: int = 160) -> np.ndarray:
    noise = gaussian_filter(np.random.default_rng(seed).normal(size=(size, size)), 3)
    return np.asarray(255 * (noise - noise.min()) / np.ptp(noise), np.uint8)


def _shifted(image: np.ndarray) -> np.ndarray:
    return np.roll(image, SHIFT.astype(int), axis=(0, 1))


def test_ddf_on_the_fixed_grid_points_back_into_the_moving_image():
    moving = _texture()
    ddf = dis_ddf(moving, _shifted(moving))
    assert ddf.shape == (1, 2, 160, 160)
    inside = ddf[0, :, 30:-30, 30:-30].numpy().reshape(2, -1).mean(axis=1)
    assert inside == pytest.approx(-SHIFT, abs=0.05)


def test_swapped_arguments_carry_moving_points_into_the_fixed_image():
    moving = _texture()
    ddf = dis_ddf(moving_grey=_shifted(moving), fixed_grey=moving)
    inside = ddf[0, :, 30:-30, 30:-30].numpy().reshape(2, -1).mean(axis=1)
    assert inside == pytest.approx(SHIFT, abs=0.05)


def test_images_of_two_sizes_are_refused_with_both_shapes():
    with pytest.raises(ValueError, match=r"moving \(8, 9\), fixed \(8, 8\)"):
        dis_ddf(np.zeros((8, 9), np.uint8), np.zeros((8, 8), np.uint8))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_grey_makes_tissue_bright_in_every_dtype(dtype):
    image = np.full((3, 8, 8), 1, np.float64)
    image[:, 2:5, 2:5] = 0
    scale = np.iinfo(dtype).max if np.issubdtype(dtype, np.integer) else 1
    result = grey((image * scale).astype(dtype))
    assert (result[3, 3], result[0, 0]) == (255, 0)


def test_robust_affine_ignores_half_the_matches():
    rng = np.random.default_rng(0)
    matrix = np.array([[0.9, -0.2, 12.0], [0.3, 1.1, -7.0]])
    moving = rng.uniform(0, 500, (400, 2))
    fixed = apply_affine(matrix, moving)
    fixed[::2] = rng.uniform(0, 500, (200, 2))
    assert robust_affine(moving, fixed) == pytest.approx(matrix, abs=0.05)


def test_robust_affine_refuses_two_matches():
    with pytest.raises(ValueError, match="2 matches"):
        robust_affine(np.zeros((2, 2)), np.zeros((2, 2)))


def test_warp_follows_the_points():
    moving = np.zeros((60, 80), np.uint8)
    cv2.circle(moving, (50, 20), 3, 255, -1)  # (x, y)
    matrix = np.array([[1.0, 0.1, 4.0], [0.0, 1.0, -9.0]])
    warped = warp_to_fixed(moving, matrix, (70, 90))
    centre = np.argwhere(warped > 100).mean(axis=0)
    assert centre == pytest.approx(apply_affine(matrix, np.array([[20.0, 50.0]]))[0], abs=0.3)
    assert swap_axes(swap_axes(matrix)) == pytest.approx(matrix)
