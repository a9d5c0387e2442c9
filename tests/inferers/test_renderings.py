"""Renderings say that something is there, whatever the sign of its contrast."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from custom_components.common.errors import InputError
from custom_components.inferers.renderings import FEATURES, NAMES, gradient, local_deviation, render


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


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shape", [(33, 57), (64, 64), (9, 101)])
def test_any_size_gives_bytes_of_that_size(name, shape) -> None:
    grey = torch.rand(1, 1, *shape)
    for mask in (torch.ones_like(grey), torch.zeros_like(grey)):
        found = render(name, grey, mask)
        assert found.shape == shape
        assert found.dtype == np.uint8


@pytest.mark.parametrize("name", NAMES)
def test_a_constant_image_has_no_structure(name) -> None:
    grey = torch.full((1, 1, 48, 48), 0.4)
    found = render(name, grey, torch.ones_like(grey))
    assert np.ptp(found) <= 1


def test_an_unknown_name_is_refused_with_those_that_are_there() -> None:
    with pytest.raises(InputError, match="unknown rendering 'edges'; there are luminance, deviation, gradient"):
        render("edges", torch.zeros(1, 1, 32, 32), torch.zeros(1, 1, 32, 32))
