"""A registration network whose encoder is a Swin transformer."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from monai.networks.blocks import Convolution
from monai.networks.layers.factories import Pool
from monai.networks.nets.swin_unetr import SwinTransformer
from torch import Tensor, nn

from custom_components.networks.init_near_zero import DEVIATION, init_near_zero
from custom_components.networks.sizes import check_sides


class TransMorph(nn.Module):
    """Displacement field of a pair of images, after TransMorph.

    A level of the decoder is enlarged linearly to the size of the one above, joined with it, and goes through two
    convolutions without bias, each with instance normalisation and LeakyReLU. The finest works at half the image's size
    and is joined with the averaged images themselves.

    Source: Chen et al., "TransMorph", Medical Image Analysis 2022; the settings are those of Czolbe et al., "DeepSim",
    Medical Image Analysis 2023. The encoder is MONAI's, which gives the patches before the first stage and each stage
    after it was merged: a level more than in the source, and strides of 4, 8, 16, ... . Its windows are 7 voxels wide
    instead of a 32nd of the image, so that any size goes through.

    Args:
        spatial_dims: 2 or 3.
        in_channels: of the images together.
        width: channels of a patch.
        depths: blocks of the four stages.
        heads: of the attention of the four stages.
        window: voxels a side that attend to each other.
        drop_path: probability of leaving a block out, rising from 0 to this.
        head_channels: of the finest level.

    Examples:
        >>> TransMorph(width=8)(torch.rand(1, 2, 65, 90)).shape
        torch.Size([1, 2, 65, 90])
    """

    def __init__(
        self,
        spatial_dims: int = 2,
        in_channels: int = 2,
        width: int = 48,
        depths: Sequence[int] = (2, 2, 4, 2),
        heads: Sequence[int] = (4, 4, 4, 4),
        window: int = 7,
        drop_path: float = 0.3,
        head_channels: int = 16,
    ) -> None:
        super().__init__()
        self.encoder = SwinTransformer(
            in_channels, width, (window,) * spatial_dims, (4,) * spatial_dims, depths, heads,
            qkv_bias=False, drop_path_rate=drop_path, patch_norm=True, spatial_dims=spatial_dims,
        )  # fmt: skip
        self.mode = "bilinear" if spatial_dims == 2 else "trilinear"
        self.minimum_size = 4 * 2 ** len(depths)
        self.pool = Pool["avg", spatial_dims](2)
        self.skip = _convolution(spatial_dims, in_channels, max(1, width // 2))
        levels = [width * 2**stage for stage in range(len(depths) + 1)]
        self.decoder = nn.ModuleList(_double(spatial_dims, below + above, above) for above, below in pairwise(levels))
        self.finest = _double(spatial_dims, width + max(1, width // 2), head_channels)
        self.flow = Convolution(spatial_dims, head_channels, spatial_dims, conv_only=True)
        init_near_zero(self.flow.conv, DEVIATION)

    def forward(self, image: Tensor) -> Tensor:
        """(B, in_channels, *spatial) -> ddf (B, D, *spatial), voxels, fixed -> moving.

        Raises:
            InputError: a side is too short for the levels.
        """
        check_sides(image, self.minimum_size)
        levels = self.encoder(image)
        x = levels[-1]
        for above, block in zip(reversed(levels[:-1]), reversed(self.decoder), strict=True):
            x = block(torch.cat([self._enlarged(x, above), above], dim=1))
        half = self.pool(image)
        x = self.finest(torch.cat([self._enlarged(x, half), self.skip(half)], dim=1))
        return self._enlarged(self.flow(x), image)

    def _enlarged(self, x: Tensor, like: Tensor) -> Tensor:
        return F.interpolate(x, size=like.shape[2:], mode=self.mode, align_corners=False)


def _convolution(spatial_dims: int, inputs: int, outputs: int) -> Convolution:
    act = ("leakyrelu", {"negative_slope": 0.01})
    return Convolution(spatial_dims, inputs, outputs, adn_ordering="NA", act=act, norm="instance", bias=False)


def _double(spatial_dims: int, inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        _convolution(spatial_dims, inputs, outputs), _convolution(spatial_dims, outputs, outputs)
    )  # fmt: skip
