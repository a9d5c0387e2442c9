"""Polarity and fill of backgrounds of every kind, at odd sizes."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from custom_components.transforms.background import background_is_bright, fill_of, without_fill
from custom_components.transforms.grey import tissue_mask, to_luminance

RNG = np.random.default_rng(0)


def tissue(shape: tuple[int, int], radius: float = 0.3) -> np.ndarray:
    """(H, W) 0..1: a disc of texture, 0 around it."""
    rows, columns = np.ogrid[-1 : 1 : shape[0] * 1j, -1 : 1 : shape[1] * 1j]
    texture = gaussian_filter(RNG.random(shape), 2)
    texture = 0.5 + 0.5 * (texture - texture.min()) / np.ptp(texture)
    return np.where(rows**2 + columns**2 < radius**2, texture, 0)


def noisy(grey: np.ndarray, noise: float = 1.5) -> np.ndarray:
    return (grey + RNG.normal(0, noise, grey.shape)).clip(0, 255).astype(np.float32)


def framed(grey: np.ndarray, value: float, width: int = 40) -> np.ndarray:
    return np.pad(grey, width, constant_values=value).astype(np.float32)


@pytest.mark.parametrize("radius", [0.02, 0.3, 0.9])
@pytest.mark.parametrize("shape", [(201, 157), (128, 300)])
def test_tissue_of_any_size_tells_glass_from_darkness(shape, radius) -> None:
    assert background_is_bright(noisy(240 - 140 * tissue(shape, radius)))
    assert not background_is_bright(noisy(10 + 140 * tissue(shape, radius)))


def test_dim_fluorescence_with_saturated_debris_is_dark() -> None:
    grey = 12 + 15 * tissue((201, 157))
    grey[20:23, 30:33] = 255
    assert not background_is_bright(noisy(grey))


def test_shaded_glass_is_bright() -> None:
    shade = np.linspace(0.85, 1, 157)[None] * np.linspace(0.9, 1, 201)[:, None]
    assert background_is_bright(noisy((240 - 140 * tissue((201, 157))) * shade))


@pytest.mark.parametrize(("glass", "stain", "fill"), [(240, -140, 0), (240, -140, 128), (10, 140, 255), (10, 60, 255)])
def test_a_fill_is_found_and_becomes_background(glass, stain, fill) -> None:
    whole = framed(noisy(glass + stain * tissue((201, 157))), fill)
    image = np.repeat(whole[None], 3, axis=0)
    result, note = without_fill(image, to_luminance(image))
    assert "an even" in note
    assert abs(float(np.median(result[0][:30])) - glass) < 3
    assert background_is_bright(to_luminance(result)) == (glass > 100)
    mask = tissue_mask(result)
    assert not mask[:25].any()
    assert mask[mask.shape[0] // 2, mask.shape[1] // 2]


@pytest.mark.parametrize("grey", [
    noisy(240 - 140 * tissue((201, 157))), noisy(10 + 140 * tissue((201, 157))),
    # constant backgrounds, as of sections that were cut out, are no fill
    (255 - 140 * tissue((201, 157))).astype(np.float32), (140 * tissue((201, 157))).astype(np.float32),
    np.full((64, 80), 7, np.float32), noisy(255 * gaussian_filter(RNG.random((90, 120)), 3)),
])  # fmt: skip
def test_what_is_background_itself_stays(grey) -> None:
    assert fill_of(grey) is None
    image = grey[None]
    result, note = without_fill(image, grey)
    assert result is image
    assert note == ""
