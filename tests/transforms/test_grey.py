from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage import data
from skimage.color import rgb2gray

from custom_components.common.errors import InputError
from custom_components.transforms.grey import (
    background_is_bright,
    equalise,
    stain_independent_grey,
    stretch,
    tissue_mask,
    to_luminance,
)


def slide(size: int = 200) -> np.ndarray:
    """(3, size, size) uint8: a purple disc of half the width on glass."""
    rows, columns = np.mgrid[:size, :size] - (size - 1) / 2
    disc = np.hypot(rows, columns) < size / 4
    noise = np.random.default_rng(0).integers(-10, 10, (3, size, size))
    return np.where(disc, np.array([130, 70, 150])[:, None, None] + noise, 240 + noise // 20).astype(np.uint8)


def test_luminance_is_that_of_rgb() -> None:
    colour = slide()
    np.testing.assert_allclose(to_luminance(colour) / 255, rgb2gray(np.moveaxis(colour, 0, -1)), atol=0.12)
    np.testing.assert_allclose(to_luminance(np.stack([slide()[0]] * 3)), slide()[0], atol=1e-4)


@pytest.mark.parametrize("channels", [1, 2, 5])
def test_other_channels_are_averaged(channels: int) -> None:
    image = np.random.default_rng(0).random((channels, 8, 9))
    np.testing.assert_allclose(to_luminance(image), image.mean(axis=0), rtol=1e-6)


def test_glass_is_told_from_a_dark_field() -> None:
    grey = to_luminance(slide())
    assert background_is_bright(grey)
    assert not background_is_bright(255 - grey)


def test_stretch_is_robust_to_a_few_extremes() -> None:
    image = np.linspace(10, 20, 10_000, dtype=np.float32).reshape(100, 100)
    spoilt = image.copy()
    spoilt[0, :5] = 1e6
    np.testing.assert_allclose(stretch(spoilt)[1:], stretch(image)[1:], atol=0.01)
    assert stretch(image).min() == 0
    assert stretch(image).max() == 1


def test_a_constant_stretches_to_zero() -> None:
    assert not stretch(np.full((8, 8), 200, np.float32)).any()


def test_tissue_is_bright_on_black_whatever_the_modality() -> None:
    bright_field = stain_independent_grey(slide())
    dark_field = stain_independent_grey(255 - slide())
    for grey in (bright_field, dark_field):
        assert grey.dtype == np.float32
        assert grey[100, 100] > 0.5 > 0.3 > grey[5:20, 5:20].mean()


@given(gain=st.floats(0.01, 200), offset=st.floats(0, 1000))
@settings(max_examples=15, deadline=None, derandomize=True)
def test_grey_does_not_depend_on_the_range_of_the_file(gain: float, offset: float) -> None:
    image = data.immunohistochemistry()[:96, :96].transpose(2, 0, 1).astype(np.float64)
    plain = stain_independent_grey(image, clip_limit=0)
    np.testing.assert_allclose(stain_independent_grey(image * gain + offset, clip_limit=0), plain, atol=2e-3)


def test_equalising_raises_local_contrast() -> None:
    image = (100 + 10 * np.random.default_rng(0).random((64, 64))).astype(np.uint8)
    assert equalise(image, 4.0, 4).std() > 2 * image.std()


def test_mask_is_the_disc() -> None:
    mask = tissue_mask(slide())
    rows, columns = np.mgrid[:200, :200] - 99.5
    distance = np.hypot(rows, columns)
    assert mask[distance < 44].all()
    assert not mask[distance > 62].any()


def test_holes_are_filled_and_specks_removed() -> None:
    image = slide()
    image[:, 95:105, 95:105] = 240  # a lumen
    image[:, 10:12, 10:12] = 60  # dust
    mask = tissue_mask(image)
    assert mask[100, 100]
    assert not mask[:30, :30].any()


@pytest.mark.parametrize("value", [0, 128, 255])
def test_an_empty_image_is_refused_by_name(value: int) -> None:
    with pytest.raises(InputError, match=rf"a\.png is empty: all pixels have the value {value}"):
        tissue_mask(np.full((3, 64, 64), value, np.uint8), name="a.png")
