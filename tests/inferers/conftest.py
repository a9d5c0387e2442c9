"""Prepared pairs of real tissue with a known truth."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from scipy import ndimage
from skimage import data
from torch import Tensor

from custom_components.fields import affine_to_ddf, compose, invert, warp
from custom_components.inferers import PairImages
from custom_components.inferers.affine_alignment import rotation_about_centre
from custom_components.matching.weights import resolve


@pytest.fixture(autouse=True)
def _weights() -> None:
    resolve("xfeat")


@dataclass(frozen=True)
class Known:
    """A pair and the field (1, 2, H, W) that aligns it."""

    images: PairImages
    truth: Tensor


def tissue(size: int = 320) -> Tensor:
    """(1, 1, size, size): an oval of the immunohistochemistry image, bright, on black."""
    grey = 1 - torch.from_numpy(data.immunohistochemistry()[:size, :size]).float().mean(dim=2) / 255
    rows, columns = torch.meshgrid(torch.linspace(-1, 1, size), torch.linspace(-1, 1, size), indexing="ij")
    inside = ((rows / 0.85) ** 2 + (columns / 0.7) ** 2 < 1).float()
    return (grey * inside)[None, None]


def smooth_field(*shape: int, largest: float = 1.0, sigma: float = 12.0, seed: int = 0) -> Tensor:
    """(1, 2, H, W) voxels, random, at most ``largest``."""
    noise = np.random.default_rng(seed).normal(size=(2, *shape))
    field = np.stack([ndimage.gaussian_filter(n, sigma) for n in noise])
    return torch.from_numpy(field / np.abs(field).max() * largest).float()[None]


def textured(height: int = 90, width: int = 76, seed: int = 0) -> PairImages:
    """Two images without anything in common, and no patch without contrast."""
    moving, fixed = torch.rand(2, 1, 1, height, width, generator=torch.Generator().manual_seed(seed))
    return PairImages(moving, fixed, torch.ones_like(moving), torch.ones_like(fixed))


def make_pair(degrees: float = 0.0, mirrored: bool = False, amplitude: float = 0.0, gamma: float = 1.0) -> Known:
    """The moving image is the tissue under the inverse of the truth, with another contrast if gamma is not 1."""
    fixed = tissue()
    size = fixed.shape[-1]
    matrix = rotation_about_centre((size, size), degrees, mirrored)
    bend = smooth_field(size, size, largest=amplitude, sigma=size / 10) if amplitude else torch.zeros(1, 2, size, size)
    truth = compose(affine_to_ddf(matrix, (size, size)), bend)
    moving = warp(fixed, invert(truth)[0]).clamp(0, 1) ** gamma
    return Known(PairImages(moving, fixed, (moving > 0.02).float(), (fixed > 0.02).float()), truth)


def error(found: Tensor, known: Known) -> Tensor:
    """Distance to the truth at the tissue's voxels."""
    distance: Tensor = (found - known.truth).norm(dim=1)[known.images.fixed_mask[:, 0] > 0.5]
    return distance


@pytest.fixture(name="make_pair")
def _make_pair() -> Callable[..., Known]:
    return make_pair


@pytest.fixture(name="error")
def _error() -> Callable[[Tensor, Known], Tensor]:
    return error


@pytest.fixture(name="tissue")
def _tissue() -> Callable[..., Tensor]:
    return tissue


@pytest.fixture(name="smooth_field")
def _smooth_field() -> Callable[..., Tensor]:
    return smooth_field


@pytest.fixture(name="textured")
def _textured() -> Callable[..., PairImages]:
    return textured
