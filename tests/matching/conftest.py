"""Images that more than one matcher is tested on."""

from __future__ import annotations

import pytest
import torch
from skimage import data
from torch import Tensor


@pytest.fixture(scope="session")
def tissue() -> Tensor:
    """(1, 1, 512, 512) in 0..1, tissue bright: a real immunohistochemistry image."""
    rgb = torch.from_numpy(data.immunohistochemistry()).float() / 255
    return 1 - rgb.mean(dim=2)[None, None]


@pytest.fixture(scope="session")
def shifted(tissue: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(moving, fixed, shift): two windows of the image, ``moving point = fixed point + shift`` (2,) row, col."""
    # sides that 32 does not divide, and that differ, show faults of padding and of swapped axes
    return tissue[..., 20:420, 30:390], tissue[..., 37:437, 21:381], torch.tensor([17.0, -9.0])
