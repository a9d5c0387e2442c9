"""The coarse network of the joint-saliency method: an encoder and decoder with a field at every resolution."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from monai.networks.blocks import Convolution
from torch import Tensor, nn

from custom_components.common.errors import InputError
from custom_components.networks.init_near_zero import DEVIATION, init_near_zero
from custom_components.networks.sizes import check_sides

SLOPE = 0.1  # of LeakyReLU where it is negative
WIDE = 2  # levels, finest first, with kernels of 5 instead of 3


def rectified(spatial_dims: int, inputs: int, outputs: int, kernel: int = 3, stride: int = 1) -> Convolution:
    """A convolution and LeakyReLU of slope 0.1."""
    return Convolution(
        spatial_dims, inputs, outputs, stride, kernel,
        adn_ordering="A", act=("leakyrelu", {"negative_slope": SLOPE}), norm=None,
    )  # fmt: skip


def start_rectified(network: nn.Module) -> None:
    """He's start for every convolution, as the source has it."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Conv3d):
            nn.init.kaiming_normal_(module.weight, a=SLOPE)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


class FlowNet(nn.Module):
    """Encoder with strided convolutions, decoder with a field at each of its resolutions, the finest full.

    Level i of the encoder has ``channels[i]`` features at stride ``2**i``. A stage of the decoder takes the features of
    the stage before and the encoder's; its head corrects the field of the stage before, enlarged.

    Source: the global network of the joint-saliency thesis and its public code, after FlowNet-S of Dosovitskiy et al.,
    ICCV 2015. Differences: heads are linear (there LeakyReLU damps negative displacements to a tenth); a head adds to
    the enlarged coarser field, which there is only one more input; features are enlarged by interpolation and a
    convolution instead of a transposed one; any size goes through.

    Args:
        spatial_dims: 2 or 3.
        channels: of the levels, finest first; the source has (16, 32, 64, 128) for digits, more for hearts.

    Raises:
        InputError: fewer than two levels.

    Examples:
        >>> FlowNet(2, (4, 8, 8))(torch.rand(1, 2, 21, 34)).shape
        torch.Size([1, 2, 21, 34])
    """

    def __init__(self, spatial_dims: int = 2, channels: Sequence[int] = (16, 32, 64, 128)) -> None:
        super().__init__()
        if len(channels) < 2:
            raise InputError(f"channels has at least two levels, got {tuple(channels)}")
        self.minimum_size = 2 ** (len(channels) - 1)
        self.mode = "bilinear" if spatial_dims == 2 else "trilinear"
        stages = []
        for level, (inputs, outputs) in enumerate(zip((2, *channels), channels, strict=False)):
            kernel = 5 if level < WIDE else 3
            stages.append(
                nn.Sequential(
                    rectified(spatial_dims, inputs, outputs, kernel, 2 if level else 1),
                    rectified(spatial_dims, outputs, outputs),
                )
            )
        self.encoder = nn.ModuleList(stages)
        widths = list(reversed(channels))
        self.decoder = nn.ModuleList(
            rectified(spatial_dims, coarser + finer, finer) for coarser, finer in pairwise(widths)
        )
        heads = [Convolution(spatial_dims, width, spatial_dims, kernel_size=3, conv_only=True) for width in widths]
        self.heads = nn.ModuleList(heads)
        start_rectified(self)
        for head in heads:
            init_near_zero(head.conv, DEVIATION)

    def forward(self, image: Tensor) -> Tensor:
        """(B, 2, *spatial) moving and fixed -> (B, D, *spatial), voxels.

        Raises:
            InputError: a side is too short for the levels; a scripted network doesn't check.
        """
        if not torch.jit.is_scripting():  # type: ignore[attr-defined]
            check_sides(image, self.minimum_size)
        levels: list[Tensor] = []
        x = image
        for stage in self.encoder:
            x = stage(x)
            levels.append(x)
        fields: list[Tensor] = []
        for index, head in enumerate(self.heads):
            field = head(x)
            fields.append(field if index == 0 else field + self._enlarged(fields[-1], x))
            for place, stage in enumerate(self.decoder):  # a script can't index modules by a variable
                if place == index:
                    above = levels[len(levels) - 2 - index]
                    x = stage(torch.cat([self._resized(x, above), above], dim=1))
        return fields[-1]

    def _resized(self, x: Tensor, like: Tensor) -> Tensor:
        return F.interpolate(x, like.shape[2:], mode=self.mode, align_corners=False)

    def _enlarged(self, field: Tensor, like: Tensor) -> Tensor:
        """A field on a finer grid, in its voxels."""
        ratios = [like.size(axis) / field.size(axis) for axis in range(2, field.dim())]
        factor = torch.tensor(ratios, dtype=field.dtype, device=field.device).view([1, -1] + [1] * (field.dim() - 2))
        return self._resized(field, like) * factor
