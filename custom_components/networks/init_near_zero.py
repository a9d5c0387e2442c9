"""The start of a network's last convolution that lets a training begin with no displacement."""

from __future__ import annotations

from torch import nn

DEVIATION = 1e-5  # of VoxelMorph, TransMorph and DeepSim


def init_near_zero(convolution: nn.Conv2d | nn.Conv3d, deviation: float) -> None:
    """Draw the weights from a normal distribution of this deviation about 0; the bias, if there is one, is 0."""
    nn.init.normal_(convolution.weight, std=deviation)
    if convolution.bias is not None:
        nn.init.zeros_(convolution.bias)
