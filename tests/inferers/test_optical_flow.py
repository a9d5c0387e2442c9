"""Optical flow: a known warp is found on images of any size, in the right direction; volumes are refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor

from custom_components.common.errors import InputError
from custom_components.fields import identity_grid, warp
from custom_components.inferers import Estimate, OpticalFlow, PairImages


def textured(shape: tuple[int, ...], seed: int = 0) -> Tensor:
    noise = gaussian_filter(np.random.default_rng(seed).normal(size=shape), 2)
    return torch.from_numpy((noise - noise.min()) / np.ptp(noise)).float()[None, None]


def make_pair(moving: Tensor, fixed: Tensor) -> PairImages:
    return PairImages(moving, fixed, torch.ones_like(moving), torch.ones_like(moving))


@pytest.mark.parametrize("shape", [(64, 64), (57, 90), (200, 301)])
def test_a_known_warp_is_found_in_its_direction(shape) -> None:
    rows, columns = identity_grid(shape) / 9
    truth = 1.5 * torch.stack([torch.sin(columns), torch.cos(rows)])[None]
    moving = textured(shape)
    images = make_pair(moving, warp(moving, truth, padding_mode="border"))
    found = OpticalFlow()(images, Estimate.identity(shape))
    inner = (..., slice(6, -6), slice(6, -6))
    error = (found.ddf - truth)[inner].norm(dim=1).mean()
    assert error < 0.3 * truth[inner].norm(dim=1).mean()
    assert [stage.name for stage in found.stages] == ["optical flow"]


def test_equal_and_flat_images_have_no_displacement() -> None:
    for image in (textured((48, 40)), torch.full((1, 1, 48, 40), 0.5)):
        assert OpticalFlow()(make_pair(image, image), Estimate.identity((48, 40))).ddf.abs().max() < 0.05


def test_the_affine_of_the_chain_stays_and_is_not_found_twice() -> None:
    shape, affine = (80, 80), np.eye(3)
    affine[:2, 2] = (3, -2)
    moving = textured(shape)
    start = Estimate.identity(shape)
    shift = torch.tensor([3.0, -2.0]).view(1, 2, 1, 1).expand(1, 2, *shape)
    images = make_pair(moving, warp(moving, shift, padding_mode="border"))
    found = OpticalFlow()(images, Estimate(shift, affine, start.matches, start.dropped))
    assert (found.ddf - shift)[..., 8:-8, 8:-8].abs().mean() < 0.1
    assert np.array_equal(found.affine, affine)


def test_volumes_are_refused() -> None:
    volume = torch.zeros(1, 1, 16, 16, 16)
    with pytest.raises(InputError, match="for sections"):
        OpticalFlow()(make_pair(volume, volume), Estimate.identity((16, 16, 16)))
