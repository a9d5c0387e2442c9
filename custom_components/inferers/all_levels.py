"""All predictions of a coarse-to-fine network, for its training."""

from __future__ import annotations

from typing import Any

import torch
from monai.inferers import Inferer
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from custom_components.common.errors import InputError


class AllPredictions(nn.Module):
    """A network whose output is all of its predictions, as DistributedDataParallel needs it.

    Args:
        network: has a method ``predictions``, as ``MaskFlownetS`` does; its parameters are these.

    Raises:
        InputError: the network has no such method.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        if not hasattr(network, "predictions"):
            raise InputError(f"{type(network).__name__} has no method predictions that gives the fields of all levels")
        self.network = network

    def forward(self, image: Tensor) -> list[Tensor]:
        """Fields (B, D, *spatial), voxels, coarsest level first, of (B, C, *spatial)."""
        fields: list[Tensor] = self.network.predictions(image)  # type: ignore[operator]
        return fields


class AllLevels(Inferer):
    """Gives what ``network.predictions`` returns in place of the last field alone; MONAI's trainers take it as inferer.

    Args:
        amp: compute in bfloat16 where that is safe, half the time on processors that have it.
    """

    def __init__(self, amp: bool = False) -> None:
        super().__init__()
        self.amp = amp

    def __call__(self, inputs: Tensor, network: nn.Module, *args: Any, **kwargs: Any) -> list[Tensor]:
        """Float32 fields (B, D, *spatial), voxels, coarsest level first.

        Args:
            inputs: (B, C, *spatial), as ``network.forward`` takes them.
            network: has a method ``predictions``, as ``MaskFlownetS`` does, or is an ``AllPredictions`` of such a
                one, which DistributedDataParallel may hold.
            args: ignored.
            kwargs: ignored.

        Raises:
            InputError: the network has no such method.
        """
        whole = network if isinstance(network, AllPredictions | DistributedDataParallel) else AllPredictions(network)
        with torch.autocast(inputs.device.type, torch.bfloat16, enabled=self.amp):
            predictions = whole(inputs)
        return [field.float() for field in predictions]
