"""Windows of a slide against the whole image carried over at once."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from skimage import data

from custom_components.fields import Grid, displacement_image, grid_change, identity_grid, resample
from custom_components.pairs import ArraySlide, read_image, slides, write_image
from custom_components.pairs.reading import Reading
from custom_components.pairs.slides import TiffSlide
from custom_components.refinement.slide_windows import SlideWindows
from custom_components.slides.native import open_image
from custom_components.slides.pyramid import PyramidWriter
from custom_components.transforms.grey import stain_independent_grey

STILL = displacement_image(torch.zeros(1, 2, 2, 2), np.eye(3), np.eye(3))
FULL = Grid((300, 420), np.eye(3))


def by_rows(image):
    """The image as one whose physical coordinates are its rows and columns."""
    grid = Grid(image.shape[1:], np.eye(3))
    return grid.on(image, {**image.meta, "read_grid": grid, "file_grid": grid})


@pytest.fixture
def image(tmp_path):
    write_image(tmp_path / "tissue.png", np.moveaxis(data.immunohistochemistry()[:300, :420], -1, 0))
    return by_rows(read_image(tmp_path / "tissue.png"))


@pytest.fixture
def slide(image):
    return open_image(image.meta["filename"], image)


def test_a_window_at_full_resolution_is_the_image_itself(image, slide):
    windows = SlideWindows(slide, image, STILL, FULL)
    part = windows.colours(40, 60, 64, 80)
    np.testing.assert_array_equal(part, np.moveaxis(image.numpy(), 0, -1)[40:104, 60:140])


def test_where_no_level_is_near_pixels_are_averaged(image, slide):
    windows = SlideWindows(slide, image, STILL, FULL.averaged(4))
    assert windows.factor == 4
    squares = np.moveaxis(image.numpy(), 0, -1)[40:104, 80:144].reshape(16, 4, 16, 4, 3).mean(axis=(1, 3))
    np.testing.assert_allclose(windows.colours(10, 20, 16, 16), squares, atol=0.51)


def test_a_window_is_carried_over_as_the_whole_image_is(image, slide):
    grid = identity_grid((30, 42)) - 15
    ddf = torch.stack([0.03 * grid[1] + 1.5, -0.02 * grid[0] + 0.7])[None]
    coarse = grid_change((30, 42), (300, 420))
    field = displacement_image(ddf, coarse, coarse)
    windows = SlideWindows(slide, image, field, FULL)
    whole = resample(image.numpy().astype(np.float32), np.eye(3), field, (300, 420), np.eye(3), 1, [0.0] * 3)
    part = windows.colours(100, 120, 50, 70).astype(np.float32)
    assert np.abs(part - np.moveaxis(whole, 0, -1)[100:150, 120:190]).mean() < 0.6


def test_beyond_the_slide_lies_its_background(image, slide):
    windows = SlideWindows(slide, image, STILL, FULL)
    part = windows.colours(290, 400, 64, 64)
    assert len(np.unique(part[20:, 30:].reshape(-1, 3), axis=0)) == 1


def test_grey_is_that_of_the_whole_image_without_equalisation(image, slide):
    windows = SlideWindows(slide, image, STILL, FULL, clip_limit=0)
    whole = stain_independent_grey(image.numpy(), clip_limit=0)
    np.testing.assert_allclose(windows.grey(40, 60, 64, 80), whole[40:104, 60:140], atol=1e-6)


def test_an_image_in_memory_is_not_read_again_and_a_slide_is(tmp_path, image, monkeypatch):
    assert isinstance(open_image(image.meta["filename"], image), ArraySlide)
    array = np.moveaxis(image.numpy(), 0, -1)
    writer = PyramidWriter(tmp_path / "tissue.ome.tif", array.shape[:2], 3, np.uint8, "deflate", recipe=[1])
    for row, column in writer.missing():
        writer.put(row, column, array[row : row + 1024, column : column + 1024])
    writer.finish()
    monkeypatch.setattr(slides, "LARGE", 1000)
    small = read_image(tmp_path / "tissue.ome.tif", longest=100)
    with open_image(tmp_path / "tissue.ome.tif", small) as slide:
        assert isinstance(slide, TiffSlide)


def test_of_fluorescence_one_channel_is_read(tmp_path):
    channels = np.random.default_rng(0).integers(0, 255, (4, 64, 80), dtype=np.uint8)
    write_image(tmp_path / "cells.tif", channels)
    image = by_rows(read_image(tmp_path / "cells.tif", reading=Reading(channel=2)))
    with TiffSlide(tmp_path / "cells.tif") as slide:
        windows = SlideWindows(slide, image, STILL, Grid.of(image), clip_limit=0)
        grey = windows.grey(8, 16, 32, 40)
    low, high = np.percentile(channels[2], (0.5, 99.5))
    np.testing.assert_allclose(grey, np.clip((channels[2, 8:40, 16:56] - low) / (high - low), 0, 1), atol=1e-5)
