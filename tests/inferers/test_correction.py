"""A field is corrected by what the images look like about each place."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter, zoom

from custom_components.inferers.ballot import Ballot
from custom_components.inferers.correction import corrected, shrunk
from custom_components.inferers.interpolation import SplineInterpolation
from custom_components.inferers.result import PairImages
from custom_components.networks.displacement_decoder import LEVELS, DisplacementDecoder

SPLINE = SplineInterpolation(spacing=0.05, smoothness=1e-5, scale=0.02)


class Follows(DisplacementDecoder):
    """Goes to where the luminance fits best on the finest level, and is everywhere as sure."""

    def forward(self, costs, means):
        best = costs[0][:, 1].flatten(1).argmax(1)
        return LEVELS[0].offsets[best], torch.full((len(best),), 0.7)


def texture(shape) -> torch.Tensor:
    smooth = gaussian_filter(np.random.default_rng(0).random(shape), 2)
    return torch.from_numpy((smooth - smooth.min()) / np.ptp(smooth)).float()[None, None]


def shifted_pair(shift, shape=(160, 144)) -> PairImages:
    fixed = texture(shape)
    mask = torch.zeros_like(fixed)
    mask[..., 24:-24, 24:-24] = 1
    return PairImages(torch.roll(fixed, shift, (2, 3)), fixed, torch.ones_like(mask), mask)


def none(images: PairImages) -> Ballot:
    """A proposal that says nothing."""
    blank = np.zeros((1, *images.shape), np.float32)
    return Ballot([np.zeros((*images.shape, 2), np.float32)], blank, blank)


def test_what_is_left_is_corrected() -> None:
    images = shifted_pair((3, -2))
    found, spread = corrected(images, none(images), torch.zeros(1, 2, *images.shape), Follows(), SPLINE, 3.0)
    inside = found[..., 48:-48, 48:-48]
    assert (inside - torch.tensor([3.0, -2.0]).view(1, 2, 1, 1)).abs().max() < 0.2
    assert spread.shape == (1, 1, *images.shape)
    assert spread[0, 0, 80, 72] == pytest.approx(0.7, abs=1e-3)


def test_the_correction_comes_after_the_field() -> None:
    images = shifted_pair((6, 6))
    field = torch.tensor([4.0, 3.0]).view(1, 2, 1, 1).expand(1, 2, *images.shape)
    found, _ = corrected(images, none(images), field, Follows(), SPLINE, 3.0)
    assert (found[..., 60:-60, 60:-60] - torch.tensor([6.0, 6.0]).view(1, 2, 1, 1)).abs().max() < 0.2


def test_larger_images_are_looked_at_at_the_size_of_the_training(monkeypatch) -> None:
    monkeypatch.setattr("custom_components.inferers.correction.FINEST", 160)
    small = shifted_pair((2, 2))
    large = [
        torch.from_numpy(zoom(image[0, 0].numpy(), 2, order=1, grid_mode=True, mode="nearest"))[None, None]
        for image in (small.moving, small.fixed, small.moving_mask, small.fixed_mask)
    ]
    images = PairImages(*large)
    reduced, factor = shrunk(images, torch.zeros(1, 2, *images.shape))
    assert reduced.shape == (160, 144)
    assert factor == pytest.approx(0.5)
    found, spread = corrected(images, none(images), torch.zeros(1, 2, *images.shape), Follows(), SPLINE, 3.0)
    assert (found[..., 96:-96, 96:-96] - 4).abs().mean() < 0.5
    assert spread[0, 0, 160, 144] == pytest.approx(1.4, abs=1e-3)  # in the voxels of the images


def test_images_that_look_the_same_already_are_left_alone() -> None:
    class Moves(DisplacementDecoder):
        def forward(self, costs, means):
            return torch.ones(len(costs[0]), 2), torch.ones(len(costs[0]))

    images, still = shifted_pair((0, 0)), torch.zeros(1, 2, 160, 144)
    found, _ = corrected(images, none(images), still, Moves(), SPLINE, 3.0)
    assert found.abs().max() < 0.02
    other = replace(images, moving=images.moving.flip(3))
    found, _ = corrected(other, none(other), still, Moves(), SPLINE, 3.0)
    assert (found[..., 60:-60, 60:-60] - 1).abs().max() < 0.2


def test_without_common_tissue_the_field_stays() -> None:
    images = shifted_pair((3, 3))
    apart = PairImages(images.moving, images.fixed, torch.zeros_like(images.moving), images.fixed_mask)
    field = torch.ones(1, 2, *images.shape)
    found, spread = corrected(apart, none(images), field, Follows(), SPLINE, 3.0)
    assert torch.equal(found, field)
    assert (spread > 0.01 * images.diagonal).all()
