from __future__ import annotations

import numpy as np
import pytest
import torch

from custom_components.fields import identity_grid
from custom_components.losses import NGFLoss, normalised_gradient

SPATIAL = [(12, 15), (6, 7, 8)]


@pytest.mark.parametrize("edge", [None, 0.05])
@pytest.mark.parametrize("spatial", SPATIAL)
def test_agrees_with_numpy(spatial, edge, images) -> None:
    warped, fixed, mask = (images(spatial, seed)[0, 0].numpy() for seed in (1, 2, 3))

    def normal(image: np.ndarray) -> np.ndarray:
        gradient = np.stack(np.gradient(image))
        slope = np.linalg.norm(gradient, axis=0)
        floor = 0.5 * np.average(slope, weights=mask) if edge is None else edge
        return gradient / np.sqrt(slope**2 + floor**2)

    wanted = np.average(1 - (normal(warped) * normal(fixed)).sum(0) ** 2, weights=mask)
    tensors = [torch.from_numpy(array)[None, None] for array in (warped, fixed, mask)]
    assert float(NGFLoss(edge, noise=0.5)(*tensors)) == pytest.approx(wanted)


@pytest.mark.parametrize("spatial", SPATIAL)
def test_inversion_brightness_and_contrast_do_not_matter(spatial, images) -> None:
    warped, fixed = images(spatial, 1), images(spatial, 2)
    wanted = NGFLoss()(warped, fixed)
    torch.testing.assert_close(NGFLoss()(-warped, fixed), wanted)
    torch.testing.assert_close(NGFLoss()(0.3 * warped + 0.5, fixed), wanted)


@pytest.mark.parametrize("degrees", [0, 30, 90, 180])
def test_ramps_give_the_squared_sine_of_their_angle(degrees) -> None:
    r, c = identity_grid((9, 10), dtype=torch.float64)
    angle = np.deg2rad(degrees)
    warped = np.cos(angle) * r + np.sin(angle) * c
    found = NGFLoss(edge=1e-4)(warped[None, None], r[None, None])
    assert float(found) == pytest.approx(np.sin(angle) ** 2, abs=1e-6)


def test_an_edge_as_strong_as_the_parameter_is_shortened_by_the_root_of_two() -> None:
    r, _ = identity_grid((9, 10), dtype=torch.float64)
    for options in ({"edge": 1.0}, {"noise": 1.0}):
        normal = normalised_gradient(r[None, None], **options)
        torch.testing.assert_close(normal[:, 0], torch.full((1, 9, 10), 0.5**0.5, dtype=torch.float64))
        assert normal[:, 1].abs().max() == 0


def test_a_flat_image_tells_nothing(images) -> None:
    assert NGFLoss()(torch.full((1, 1, 12, 15), 0.4, dtype=torch.float64), images((12, 15))) == 1


def test_each_image_of_a_batch_has_its_own_edge_parameter(images) -> None:
    pair = images((12, 15), batch=2) * torch.tensor([1.0, 0.1]).view(2, 1, 1, 1)
    torch.testing.assert_close(normalised_gradient(pair)[1:], normalised_gradient(pair[1:]))
