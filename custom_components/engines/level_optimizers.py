"""What a training of the levels of a pyramid steps: an optimiser and a schedule for each of them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.optim import Optimizer
from torch.optim.lr_scheduler import ExponentialLR, LRScheduler

from custom_components.networks import NetworkPyramid


def level_optimizers(network: NetworkPyramid, learning_rate: float) -> list[Optimizer]:
    """One Adam a level, over that level's network alone."""
    return [torch.optim.Adam(level.parameters(), lr=learning_rate) for level in network.levels]


def level_schedulers(optimizers: Sequence[Optimizer], decay: float) -> list[LRScheduler]:
    """One schedule an optimiser; a step multiplies the learning rate by ``decay``."""
    return [ExponentialLR(optimizer, decay) for optimizer in optimizers]
