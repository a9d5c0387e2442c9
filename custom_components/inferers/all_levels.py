"""All predictions of a coarse-to-fine network, for its training."""

from __future__ import annotations

from typing import Any

import torch
from monai.inferers import Inferer
from torch import Tensor, nn

from custom_components.errors import InputError


class AllLevels(Inferer):
    """Gives what ``network.predictions`` returns in place of the last field alone; MONAI's trainers take it as inferer.

    Args:
        half: compute in bfloat16 where that is safe, half the time on processors that have it.
    """

    def __init__(self, half: bool = False) -> None:
        super().__init__()
        self.half = half

    def __call__(self, inputs: Tensor, network: nn.Module, *args: Any, **kwargs: Any) -> list[Tensor]:
        """Float32 fields (B, D, *spatial), voxels, coarsest level first.

        Args:
            inputs: (B, C, *spatial), as ``network.forward`` takes them.
            network: has a method ``predictions``, as ``MaskFlownetS`` does.
            args: ignored.
            kwargs: ignored.

        Raises:
            InputError: the network has no such method.
        """
        if not hasattr(network, "predictions"):
            raise InputError(f"{type(network).__name__} has no method predictions that gives the fields of all levels")
        with torch.autocast(inputs.device.type, torch.bfloat16, enabled=self.half):
            predictions = network.predictions(inputs)  # type: ignore[operator]
        return [field.float() for field in predictions]
