"""Images that the tests of this folder share."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor

MakeImages = Callable[..., Tensor]


@pytest.fixture(scope="session")
def images() -> MakeImages:
    """Factory of (batch, 1, *spatial) smooth random textures in 0..1."""

    def make(spatial: Sequence[int], seed: int = 0, batch: int = 1, dtype: torch.dtype = torch.float64) -> Tensor:
        rng = np.random.default_rng(seed)
        noise = np.stack([gaussian_filter(rng.normal(size=spatial), 1.2) for _ in range(batch)])[:, None]
        return torch.from_numpy((noise - noise.min()) / np.ptp(noise)).to(dtype)

    return make
