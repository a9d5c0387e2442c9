"""Encoders whose feature maps compare images: the one trained here, and what makes any other network one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from monai.networks.blocks import Convolution
from monai.networks.layers.factories import Dropout, Norm
from torch import Tensor, nn

from custom_components.common.errors import InputError

SLOPE = 0.2  # of LeakyReLU where it is negative
ACTIVATION = ("leakyrelu", {"negative_slope": SLOPE})


def convolution(spatial_dims: int, inputs: int, outputs: int, **options: Any) -> Convolution:
    """A convolution of kernel 3 and LeakyReLU of slope 0.2, nothing else; ``options`` of MONAI's ``Convolution``."""
    return Convolution(spatial_dims, inputs, outputs, adn_ordering="A", act=ACTIVATION, norm=None, **options)


class FeatureEncoder(nn.Module):
    """Feature maps of an image at strides 2, 4, 8, ...: the half of a U-Net that goes down.

    A stage is batch normalisation of what comes in, a convolution of kernel 4 and stride 2, one of kernel 3, each with
    LeakyReLU of slope 0.2, and dropout of whole channels.

    Source: Czolbe et al., "DeepSim", MIDL 2021 and Medical Image Analysis 2023, and its public code. The list that it
    returns is what ``DeepSimLoss`` compares; exported to TorchScript it has the form that elastix' IMPACT metric loads.

    Args:
        spatial_dims: 2 or 3.
        in_channels: of the image.
        channels: of the stages, finest first.
        norm: with batch normalisation.
        dropout: probability of a channel; 0 for none.

    Raises:
        InputError: ``spatial_dims`` is neither 2 nor 3, or ``channels`` is empty.

    Examples:
        >>> [tuple(level.shape) for level in FeatureEncoder(2, 1, (4, 8))(torch.rand(1, 1, 20, 32))]
        [(1, 4, 10, 16), (1, 8, 5, 8)]
    """

    def __init__(
        self,
        spatial_dims: int = 2,
        in_channels: int = 1,
        channels: Sequence[int] = (64, 128, 256),
        norm: bool = True,
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        if spatial_dims not in (2, 3) or not channels:
            raise InputError(
                f"spatial_dims is 2 or 3 and channels has a number a stage, got {spatial_dims} and {tuple(channels)}"
            )
        self.spatial_dims = spatial_dims
        self.channels = tuple(channels)
        self.minimum_size = 2 ** len(self.channels)
        stages = []
        for inputs, outputs in zip((in_channels, *channels), channels, strict=False):
            stage: list[nn.Module] = [Norm["batch", spatial_dims](inputs)] if norm else []
            stage.append(convolution(spatial_dims, inputs, outputs, strides=2, kernel_size=4, padding=1))
            stage.append(convolution(spatial_dims, outputs, outputs))
            if dropout:
                stage.append(Dropout["dropout", spatial_dims](dropout))
            stages.append(nn.Sequential(*stage))
        self.stages = nn.ModuleList(stages)

    def forward(self, image: Tensor) -> list[Tensor]:
        """(B, in_channels, *spatial) -> (B, channels[i], *spatial // 2**(i + 1)) for every stage, finest first."""
        features: list[Tensor] = []
        x = image
        for stage in self.stages:
            x = stage(x)
            features.append(x)
        return features


def frozen(network: nn.Module) -> nn.Module:
    """The network itself, in evaluation mode and without gradients of its parameters."""
    for parameter in network.parameters():  # the method of the same name does not take TorchScript
        parameter.requires_grad_(False)
    return network.eval()
