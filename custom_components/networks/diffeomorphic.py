"""A network's output as a velocity instead of a displacement."""

from __future__ import annotations

from torch import Tensor, nn

from custom_components.networks.warp import warp


class Diffeomorphic(nn.Module):
    """Integrates the stationary velocity field that a network returns, by scaling and squaring.

    MONAI's ``DVF2DDF`` does the same, but neither scripts nor exports.

    Args:
        network: image -> (B, D, *spatial), voxels a unit of time.
        steps: the first step is ``2**-steps`` of the time.
    """

    def __init__(self, network: nn.Module, steps: int = 7) -> None:
        super().__init__()
        self.network = network
        self.steps = steps

    def forward(self, image: Tensor) -> Tensor:
        """(B, D, *spatial), voxels, fixed -> moving."""
        ddf: Tensor = self.network(image) / 2.0**self.steps
        for _ in range(self.steps):
            ddf = ddf + warp(ddf, ddf)
        return ddf
