"""Fields, images and grids that the tests of this folder share."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor

from custom_components.fields import index_to_physical

MakeField = Callable[..., Tensor]
MakeImage = Callable[..., Tensor]
MakeMatrix = Callable[..., np.ndarray]


def _smooth(shape: Sequence[int], sigma: float, seed: int) -> np.ndarray:
    values = np.stack(
        [gaussian_filter(c, sigma, mode="reflect") for c in np.random.default_rng(seed).normal(size=shape)]
    )
    return np.asarray(values / np.abs(values).max())


@pytest.fixture(scope="session")
def smooth_field() -> MakeField:
    """Factory of (1, D, *spatial) smooth random fields whose largest component is `amplitude` voxels."""

    def make(spatial: Sequence[int], amplitude: float = 2.0, sigma: float = 6.0, seed: int = 0) -> Tensor:
        return torch.from_numpy(amplitude * _smooth((len(spatial), *spatial), sigma, seed))[None]

    return make


@pytest.fixture(scope="session")
def smooth_image() -> MakeImage:
    """Factory of (1, 1, *spatial) images of 0..255 grey levels."""

    def make(spatial: Sequence[int], sigma: float = 2.0, seed: int = 1) -> Tensor:
        return torch.from_numpy(127.5 + 127.5 * _smooth((1, *spatial), sigma, seed))[None]

    return make


@pytest.fixture(scope="session")
def oblique() -> MakeMatrix:
    """Factory of index_to_physical matrices with uneven spacing, a rotated direction and a shifted origin."""

    def make(dimensions: int, seed: int = 0, scale: float = 1.0) -> np.ndarray:
        rng = np.random.default_rng(seed)
        direction, _ = np.linalg.qr(rng.normal(size=(dimensions, dimensions)))
        if np.linalg.det(direction) < 0:
            direction[:, 0] *= -1
        return index_to_physical(scale * rng.uniform(0.4, 2.0, dimensions), rng.uniform(-50, 50, dimensions), direction)

    return make
