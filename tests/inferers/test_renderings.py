"""Renderings say that something is there, whatever the sign of its contrast."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from skimage.color import hed2rgb

from custom_components.common.errors import InputError
from custom_components.inferers import PairImages
from custom_components.inferers.renderings import (
    DEFAULT,
    FEATURES,
    NAMES,
    gradient,
    haematoxylin,
    local_deviation,
    render_pair,
)
from custom_components.inferers.result import PairOrigin
from custom_components.pairs import Pair, read_image

GREY = [name for name in NAMES if name != "haematoxylin"]


def render(name: str, image: torch.Tensor, mask: torch.Tensor) -> np.ndarray:
    """One image, as both of a pair."""
    found = render_pair(name, PairImages(image, image, mask, mask), torch.zeros(1, 2, *image.shape[2:]))
    assert found is not None
    np.testing.assert_array_equal(*found)
    return found[0]


def flat(grey: torch.Tensor) -> np.ndarray:
    return np.ascontiguousarray(grey[0, 0].numpy(), np.float32)


@pytest.mark.parametrize("name", sorted(FEATURES))
def test_inverting_the_contrast_changes_nothing(name, tissue) -> None:
    grey = tissue(160)
    mask = torch.ones_like(grey)
    upright, inverted = (render(name, image, mask).astype(int) for image in (grey, 1 - grey))
    assert upright.max() > 100
    # rounding in pale tissue is lifted by root and equalisation
    assert np.abs(upright - inverted).mean() < 0.5
    assert np.abs(upright - inverted).max() < 0.1 * upright.max()


def test_the_grey_values_of_an_inverted_image_differ(tissue) -> None:
    grey = tissue(160)
    mask = torch.ones_like(grey)
    assert np.abs(render("luminance", grey, mask).astype(int) - render("luminance", 1 - grey, mask)).mean() > 50


@pytest.mark.parametrize("feature", [local_deviation, gradient])
def test_features_grow_with_the_contrast_and_forget_the_brightness(feature, tissue) -> None:
    grey = flat(tissue(160))
    np.testing.assert_allclose(feature(0.5 * grey + 0.3), 0.5 * feature(grey), atol=2e-3)
    assert feature(np.full((40, 50), 0.7, np.float32)).max() < 1e-2


def test_the_gradient_of_a_ramp_is_the_same_everywhere() -> None:
    ramp = np.tile(np.arange(60, dtype=np.float32) / 60, (50, 1))
    inside = gradient(ramp)[12:-12, 12:-12]
    np.testing.assert_allclose(inside, 8 / 60, rtol=1e-4)  # Sobel's kernel adds up to eight


def test_the_deviation_of_noise_is_its_standard_deviation() -> None:
    noise = np.random.default_rng(0).normal(0.5, 0.1, (200, 200)).astype(np.float32)
    assert local_deviation(noise, 6)[30:-30, 30:-30].mean() == pytest.approx(0.1, rel=0.05)


@pytest.mark.parametrize("name", GREY)
@pytest.mark.parametrize("shape", [(33, 57), (64, 64), (9, 101)])
def test_any_size_gives_bytes_of_that_size(name, shape) -> None:
    grey = torch.rand(1, 1, *shape)
    for mask in (torch.ones_like(grey), torch.zeros_like(grey)):
        found = render(name, grey, mask)
        assert found.shape == shape
        assert found.dtype == np.uint8


@pytest.mark.parametrize("name", GREY)
def test_a_constant_image_has_no_structure(name) -> None:
    grey = torch.full((1, 1, 48, 48), 0.4)
    found = render(name, grey, torch.ones_like(grey))
    assert np.ptp(found) <= 1


def test_an_unknown_name_is_refused_with_those_that_are_there() -> None:
    with pytest.raises(InputError, match="unknown rendering 'edges'; there are luminance, deviation, gradient"):
        render("edges", torch.zeros(1, 1, 32, 32), torch.zeros(1, 1, 32, 32))


def stained(file: Path, haematoxylin: np.ndarray, dab: np.ndarray) -> Path:
    """A section in two stains, (H, W) amounts of each."""
    colour = hed2rgb(np.stack([haematoxylin, np.zeros_like(dab), dab], axis=-1))
    Image.fromarray((colour.clip(0, 1) * 255).round().astype(np.uint8)).save(file)
    return file


def pair_of(fixed: Path, moving: Path, margin: int = 8) -> PairImages:
    """Half the size of the files, with a margin, as preparation makes them."""
    images = [read_image(file) for file in (moving, fixed)]
    grids = []
    for image in images:
        small = image.meta["file_grid"].shrunk(0.5)
        grids.append(small.padded([side + 2 * margin for side in small.shape]))
    blank = torch.zeros(1, 1, *grids[1].shape)
    origin = PairOrigin(Pair("a", moving, fixed), *images, *grids, "pixel")
    return PairImages(blank, blank, torch.ones_like(blank), torch.ones_like(blank), origin)


def test_the_haematoxylin_of_two_stains_is_the_same_whatever_else_is_in_them(tmp_path) -> None:
    rows, columns = np.mgrid[:96, :120]
    nuclei = 0.15 * (np.sin(rows / 6) * np.sin(columns / 7) > 0.3)
    other = 0.2 * (np.cos(rows / 11) > 0)
    images = pair_of(stained(tmp_path / "f.png", nuclei, 0 * other), stained(tmp_path / "m.png", nuclei, other))
    origin = images.origin
    assert origin is not None
    sides = (origin.fixed, origin.fixed_grid), (origin.moving, origin.moving_grid)
    fixed, moving = (haematoxylin(*side)[0, 0].numpy() for side in sides)
    expected = nuclei.reshape(48, 2, 60, 2).mean(axis=(1, 3))
    for found in (fixed, moving):
        assert found.shape == images.shape
        assert np.corrcoef(found[8:-8, 8:-8].ravel(), expected.ravel())[0, 1] > 0.97
    pair = render_pair("haematoxylin", images, torch.zeros(1, 2, *images.shape))
    assert pair is not None
    # and it is aligned by the affine as the grey values are
    shifted = render_pair("haematoxylin", images, torch.full((1, 2, *images.shape), 3.0))
    assert shifted is not None
    np.testing.assert_array_equal(shifted[0], pair[0])
    assert np.corrcoef(shifted[1][12:-16, 12:-16].ravel(), pair[1][15:-13, 15:-13].ravel())[0, 1] > 0.9


def test_without_colour_or_files_there_is_no_haematoxylin(tmp_path) -> None:
    nuclei = 0.15 * (np.random.default_rng(0).random((96, 120)) > 0.5)
    coloured, grey = stained(tmp_path / "f.png", nuclei, nuclei), tmp_path / "g.png"
    Image.fromarray(np.full((96, 120), 200, np.uint8)).save(grey)
    zero = torch.zeros(1, 2, 64, 76)
    assert render_pair("haematoxylin", pair_of(coloured, grey), zero) is None
    blank = torch.zeros(1, 1, 64, 76)
    assert render_pair("haematoxylin", PairImages(blank, blank, blank, blank), zero) is None


def test_what_is_asked_by_default_is_there() -> None:
    assert set(DEFAULT) <= set(NAMES)
