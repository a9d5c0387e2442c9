from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from monai.losses import LocalNormalizedCrossCorrelationLoss

from custom_components.common.errors import InputError
from custom_components.losses import WindowedNCCLoss

SPATIAL = [(12, 14), (7, 8, 6)]


@pytest.mark.parametrize("spatial", SPATIAL)
def test_is_the_squared_correlation_of_every_window(spatial, images) -> None:
    warped, fixed, mask = (images(spatial, seed)[0, 0].numpy() for seed in (1, 2, 3))
    total = weights = 0.0
    for corner in itertools.product(*(range(side - 4) for side in spatial)):
        window = tuple(slice(start, start + 5) for start in corner)
        weight = mask[tuple(start + 2 for start in corner)]
        total -= weight * np.corrcoef(warped[window].ravel(), fixed[window].ravel())[0, 1] ** 2
        weights += weight
    loss = WindowedNCCLoss(len(spatial), 5, minimum_variance=1e-12)
    tensors = [torch.from_numpy(array)[None, None] for array in (warped, fixed, mask)]
    assert float(loss(*tensors)) == pytest.approx(total / weights)


@pytest.mark.parametrize("spatial", SPATIAL)
def test_contrast_brightness_and_inversion_do_not_matter(spatial, images) -> None:
    image = images(spatial)
    loss = WindowedNCCLoss(len(spatial), 5)
    assert float(loss(image, image)) == pytest.approx(-1, abs=0.01)
    assert float(loss(0.8 * image + 0.2, image)) == pytest.approx(-1, abs=0.01)
    assert float(loss(1 - image, image)) == pytest.approx(-1, abs=0.01)


@pytest.mark.parametrize("value", [0.3, 0.7, 0.93, 1.0])
@pytest.mark.parametrize("kernel_size", [7, 15])
def test_flat_windows_give_nothing_in_float32(value, kernel_size) -> None:
    image = torch.full((1, 1, 40, 40), value)
    assert abs(float(WindowedNCCLoss(2, kernel_size)(image, image))) < 1e-3


def test_the_floor_of_monai_would_not_do() -> None:
    """The reason for ours; once MONAI's default holds on flat images it can go."""
    image = torch.full((1, 1, 40, 40), 0.93)
    assert LocalNormalizedCrossCorrelationLoss(2, 15)(image, image) < -1


def test_wrong_windows_are_refused() -> None:
    for size in (4, 1, 0):
        with pytest.raises(InputError, match="kernel_size"):
            WindowedNCCLoss(2, size)
    with pytest.raises(InputError, match=r"7 voxels a side, the image \(6, 20\)"):
        WindowedNCCLoss()(torch.rand(1, 1, 6, 20), torch.rand(1, 1, 6, 20))
