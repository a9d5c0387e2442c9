"""One U-Net for segmentation, as autoencoder and for registration, after DeepSim."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from monai.networks.blocks import Convolution
from monai.networks.layers.factories import Dropout
from torch import Tensor, nn

from custom_components.networks.feature_encoder import SLOPE, FeatureEncoder, convolution
from custom_components.networks.init_near_zero import init_near_zero
from custom_components.networks.sizes import check_sides


class StridedUNet(nn.Module):
    """U-Net with strided convolutions down and linear interpolation up; its ``encoder`` compares images afterwards.

    A decoder stage is two convolutions of kernel 3 with LeakyReLU and dropout, enlarged to the size of the level above
    and joined with it, at last with the image itself; the head is two more such convolutions and a linear one.

    Source: Czolbe et al., "DeepSim", MIDL 2021 and Medical Image Analysis 2023, and its public code: with skip
    connections the segmentation and the registration network, without them the autoencoder. Differences: any size goes
    through, as levels are enlarged to the size that they had; convolutions begin as in He et al., ICCV 2015, since with
    PyTorch's own start the signal fades from layer to layer and a registration lay still for its first 300 steps.

    Args:
        spatial_dims: 2 or 3.
        in_channels: of the image.
        out_channels: classes, grey channels, or ``spatial_dims`` for a displacement field.
        channels: of the levels, finest first.
        skip_connections: join the levels of the encoder.
        norm: batch normalisation in the encoder.
        dropout: probability of a channel in encoder and decoder; 0 for none.
        out_kernel: of the last convolution; the source has 1, and 3 for a field.
        out_deviation: standard deviation of the last convolution's weights at first, its bias then 0, as the source
            begins a field; None leaves PyTorch's.
        sigmoid: a sigmoid at the end, for grey values.

    Raises:
        InputError: see ``FeatureEncoder``.

    Examples:
        >>> StridedUNet(2, 2, 2, channels=(4, 8), out_kernel=3, out_deviation=1e-5)(torch.rand(1, 2, 21, 34)).shape
        torch.Size([1, 2, 21, 34])
    """

    def __init__(
        self,
        spatial_dims: int = 2,
        in_channels: int = 1,
        out_channels: int = 1,
        channels: Sequence[int] = (64, 128, 256),
        skip_connections: bool = True,
        norm: bool = True,
        dropout: float = 0.5,
        out_kernel: int = 1,
        out_deviation: float | None = None,
        sigmoid: bool = False,
    ) -> None:
        super().__init__()
        self.encoder = FeatureEncoder(spatial_dims, in_channels, channels, norm, dropout)
        self.skip_connections = skip_connections
        self.sigmoid = sigmoid
        self.mode = "bilinear" if spatial_dims == 2 else "trilinear"
        widths = list(reversed(self.encoder.channels))
        stages = []
        for index, width in enumerate(widths):
            inputs = width if index == 0 else widths[index - 1] + (width if skip_connections else 0)
            stage: list[nn.Module] = [convolution(spatial_dims, inputs, width), convolution(spatial_dims, width, width)]
            if dropout:
                stage.append(Dropout["dropout", spatial_dims](dropout))
            stages.append(nn.Sequential(*stage))
        self.decoder = nn.ModuleList(stages)
        width = widths[-1] + (in_channels if skip_connections else 0)
        self.head = nn.Sequential(convolution(spatial_dims, width, width), convolution(spatial_dims, width, width))
        self.out = Convolution(spatial_dims, width, out_channels, kernel_size=out_kernel, conv_only=True)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Conv3d):
                nn.init.kaiming_normal_(module.weight, a=SLOPE)
        if out_deviation is not None:
            init_near_zero(self.out.conv, out_deviation)

    def forward(self, image: Tensor) -> Tensor:
        """(B, in_channels, *spatial) -> (B, out_channels, *spatial), linear or in [0, 1].

        Raises:
            InputError: a side is too short for the levels; a scripted network doesn't check.
        """
        if not torch.jit.is_scripting():  # type: ignore[attr-defined]
            check_sides(image, self.encoder.minimum_size)
        levels = [image]
        levels += self.encoder(image)
        x = levels[-1]
        for index, stage in enumerate(self.decoder):
            above = levels[-2 - index]
            x = F.interpolate(stage(x), size=above.shape[2:], mode=self.mode, align_corners=False)
            if self.skip_connections:
                x = torch.cat([x, above], dim=1)
        result: Tensor = self.out(self.head(x))
        return torch.sigmoid(result) if self.sigmoid else result
