"""What the networks share about the sizes of their inputs; scripted networks use ``fit`` but don't check."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from custom_components.common.errors import InputError


def check_sides(image: Tensor, minimum: int) -> None:
    """Refuse what a network can't take.

    Args:
        image: (B, C, *spatial).
        minimum: voxels that every side needs.

    Raises:
        InputError: a side is shorter.
    """
    if min(image.shape[2:]) < minimum:
        raise InputError(f"the network needs at least {minimum} voxels a side, got {tuple(image.shape[2:])}: pad them")


def pad_or_crop_like(x: Tensor, like: Tensor) -> Tensor:
    """``x`` with zeros appended to, or voxels cut from, the end of each axis until it has the size of ``like``."""
    pads: list[int] = []
    for axis in range(x.dim() - 1, 1, -1):
        pads += [0, like.size(axis) - x.size(axis)]
    return F.pad(x, pads)
