"""Local costs peak where the images fit, whatever their size, and are what their text says."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from custom_components.inferers.local_costs import CELL, local_costs
from custom_components.inferers.result import PairImages
from custom_components.networks.displacement_decoder import CHANNELS, LEVELS


def texture(shape, seed=0) -> torch.Tensor:
    noise = np.random.default_rng(seed).random(shape)
    smooth = gaussian_filter(noise, 1.5)
    return torch.from_numpy((smooth - smooth.min()) / np.ptp(smooth)).float()[None, None]


def pair(fixed, moving, mask=None) -> PairImages:
    whole = torch.ones_like(fixed) if mask is None else mask
    return PairImages(moving, fixed, whole, whole)


@pytest.mark.parametrize("shift", [(0, 0), (3, -2), (-4, 4)])
@pytest.mark.parametrize("inverted", [False, True])
def test_the_peak_is_where_the_other_image_lies(shift, inverted) -> None:
    fixed = texture((96, 112))
    moving = torch.roll(fixed, shift, (2, 3))
    if inverted:
        moving = 1 - moving
    costs = local_costs(pair(fixed, moving))
    fine = costs.levels[0][12, 14].flatten(1)
    # luminance and its deviation in three windows each, then self-similarity
    measures = fine[3:] if inverted else fine
    found = LEVELS[0].offsets[measures.argmax(1)]
    assert (found == torch.tensor(shift)).all()


def test_coarser_levels_see_larger_displacements() -> None:
    fixed = torch.nn.functional.interpolate(texture((48, 48)), scale_factor=4, mode="bicubic")
    costs = local_costs(pair(fixed, torch.roll(fixed, (-8, 16), (2, 3))))
    middle = costs.levels[2][24, 24, 1].flatten()
    assert LEVELS[2].offsets[middle.argmax()].tolist() == [-8, 16]


def test_a_value_is_the_weighed_mean_of_the_products() -> None:
    """Brute force, of the luminance on the finest grid."""
    fixed, moving = texture((64, 64)), texture((64, 64), seed=1)
    found = local_costs(pair(fixed, moving)).levels[0][8, 8]

    def contrast(image):
        values = image[0, 0].numpy().astype(float)
        mean = gaussian_filter(values, 8, mode="mirror", truncate=4)
        square = gaussian_filter(values**2, 8, mode="mirror", truncate=4)
        return (values - mean) / (np.sqrt(np.maximum(square - mean**2, 0)) + 0.02)

    product = contrast(fixed) * np.roll(contrast(moving), (-2, 1), (0, 1))  # moving at x + (2, -1)
    cells = product.reshape(16, CELL, 16, CELL).mean((1, 3))
    weight = np.exp(-((np.arange(16) - 8.0) ** 2) / (2 * (LEVELS[0].windows[0] / CELL) ** 2))
    wanted = (weight[:, None] * weight[None] * cells).sum() / (weight.sum() ** 2)
    assert found[0, 4 + 2, 4 - 1] == pytest.approx(wanted, abs=0.02)


@pytest.mark.parametrize(("shape", "every"), [((61, 83), 1), ((61, 83), 2), ((17, 33), 2), ((5, 7), 1)])
def test_odd_sizes_have_a_place_for_all_that_is_seen(shape, every) -> None:
    image = texture(shape)
    costs = local_costs(pair(image, image), every)
    places = tuple(-(-side // (CELL * every)) for side in shape)
    assert costs.tissue.shape == places
    for level, values in zip(LEVELS, costs.levels, strict=True):
        assert values.shape == (*places, CHANNELS, 2 * level.reach + 1, 2 * level.reach + 1)
        assert torch.isfinite(values).all()


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_images_without_texture_and_without_tissue_give_numbers(value) -> None:
    blank = torch.full((1, 1, 48, 48), value)
    costs = local_costs(pair(blank, blank, torch.zeros_like(blank)))
    assert all(torch.isfinite(level).all() for level in costs.levels)
    points, here = costs.on_tissue()
    assert len(points) == 0
    assert all(len(level) == 0 for level in here)


def test_places_lie_in_the_middle_of_their_cells() -> None:
    image = texture((48, 64))
    mask = torch.zeros_like(image)
    mask[..., 16:, 24:] = 1
    costs = local_costs(pair(image, image, mask), every=2)
    points, here = costs.on_tissue()
    assert points[0].tolist() == [16 + 3.5, 24 + 3.5]
    for level, at, values in zip(costs.levels, costs.at(points), here, strict=True):
        torch.testing.assert_close(at, values, atol=1e-4, rtol=1e-3)
        assert level[2, 3].shape == values[0].shape


def test_tissue_that_one_image_lacks_says_nothing_of_the_rest() -> None:
    """Beyond the mask there may be anything."""
    fixed = texture((96, 96))
    moving = fixed.clone()
    mask = torch.ones_like(fixed)
    mask[..., 48:] = 0
    changed = moving.clone()
    changed[..., 64:] = texture((96, 96), seed=3)[..., 64:]
    one, other = (local_costs(pair(fixed, image, mask)).levels[0][12, 4] for image in (moving, changed))
    torch.testing.assert_close(one, other, atol=1e-3, rtol=1e-3)
