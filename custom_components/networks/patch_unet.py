"""The patch network of unsupervised nonrigid registration of histology images."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy

import torch
from monai.networks.blocks import Convolution
from torch import Tensor, nn

from custom_components.common.errors import InputError
from custom_components.fields import smooth
from custom_components.networks.sizes import check_sides, pad_or_crop_like


class PatchUNet(nn.Module):
    """U-Net of unpadded strided convolutions that sees a pair of patches and returns their displacement field.

    Every block is convolution, group normalisation with one channel a group, PReLU. Going down halves a side of n
    voxels to (n - 1) // 2, going up gives it back; where that is one voxel short of the skip connection a row of zeros,
    the mean of a normalised channel, is appended, so any size from ``minimum_size`` on comes out as it went in.

    Source: Wodzinski & Mueller, "Unsupervised Learning-based Nonrigid Registration of High Resolution Histology
    Images", MLMI 2020, and its public code; the defaults are theirs, for patches of 256x256. Difference: the last
    convolution starts without bias and with weights scaled by ``initial_scale``, so training starts near the identity.

    Args:
        spatial_dims: 2 or 3.
        in_channels: of moving and fixed together.
        channels: of the levels, finest first.
        head_channels: of the blocks at full resolution that follow the decoder.
        initial_scale: factor on the default initial weights of the last convolution; 1 is the source's start.

    Attributes:
        minimum_size: voxels that every side of the input needs; 2 are left of it at the coarsest level.

    Raises:
        InputError: ``spatial_dims`` is neither 2 nor 3, or ``channels`` is empty.

    Examples:
        >>> PatchUNet(channels=(4, 8), head_channels=(4,))(torch.rand(1, 2, 20, 31)).shape
        torch.Size([1, 2, 20, 31])
    """

    def __init__(
        self,
        spatial_dims: int = 2,
        in_channels: int = 2,
        channels: Sequence[int] = (32, 64, 128, 256, 512),
        head_channels: Sequence[int] = (32, 16),
        initial_scale: float = 1e-2,
    ) -> None:
        super().__init__()
        if spatial_dims not in (2, 3) or not channels:
            raise InputError(
                f"spatial_dims is 2 or 3 and channels has a number a level, got {spatial_dims} and {tuple(channels)}"
            )
        self.minimum_size = 3 * 2 ** len(channels) - 1

        def block(inputs: int, outputs: int, stride: int, up: bool = False, grow: int = 0) -> Convolution:
            return Convolution(
                spatial_dims,
                inputs,
                outputs,
                strides=stride,
                norm=("group", {"num_groups": outputs}),
                padding=0 if stride > 1 else 1,
                is_transposed=up,
                output_padding=grow,
            )

        sides = [in_channels, *channels]
        self.encoder = nn.ModuleList([block(a, b, 2) for a, b in zip(sides, channels, strict=False)])
        coarsest, *others = reversed(channels)
        inputs = [coarsest, *(2 * count for count in others)]
        outputs = [*others, channels[0]]
        last = len(channels) - 1
        self.decoder = nn.ModuleList(
            [block(a, b, 2, up=True, grow=int(i == last)) for i, (a, b) in enumerate(zip(inputs, outputs, strict=True))]
        )
        heads = [channels[0], *head_channels]
        self.head = nn.Sequential(*[block(a, b, 1) for a, b in zip(heads, head_channels, strict=False)])
        self.field = Convolution(spatial_dims, heads[-1], spatial_dims, conv_only=True)
        with torch.no_grad():
            self.field.conv.weight.mul_(initial_scale)
            self.field.conv.bias.zero_()

    def forward(self, image: Tensor) -> Tensor:
        """Displacement field of a pair.

        Args:
            image: (B, in_channels, *spatial), moving and fixed concatenated over channels, moving first.

        Returns:
            (B, spatial_dims, *spatial), voxels, array-axis order, fixed -> moving.

        Raises:
            InputError: a side is below ``minimum_size``; a scripted network doesn't check.
        """
        if not torch.jit.is_scripting():  # type: ignore[attr-defined]
            check_sides(image, self.minimum_size)
        skips = [image]
        for block in self.encoder:
            skips.append(block(skips[-1]))
        x = skips.pop()
        for level, block in enumerate(self.decoder):
            x = pad_or_crop_like(block(x), skips[-1 - level])
            if level + 1 < len(skips):
                x = torch.cat([x, skips[-1 - level]], dim=1)
        displacement: Tensor = self.field(self.head(x))
        return displacement


class NetworkPyramid(nn.Module):
    """Independent copies of one network, a level each, in one module: one file of weights, one export.

    Args:
        network: copied ``levels`` times; the copies start alike.
        levels: coarsest first.
        field_sigma: standard deviation in voxels of a Gaussian over the fields. The source smooths by its loss alone,
            which leaves the noise that a convolution makes from voxel to voxel.

    Raises:
        InputError: no level, or a negative smoothing.
    """

    def __init__(self, network: nn.Module, levels: int = 3, field_sigma: float = 0.0) -> None:
        super().__init__()
        if levels < 1 or field_sigma < 0:
            raise InputError(
                f"a pyramid has at least one level, got {levels}, and no negative smoothing, got {field_sigma}"
            )
        self.field_sigma = field_sigma
        self.levels = nn.ModuleList([deepcopy(network) for _ in range(levels)])

    def forward(self, image: Tensor, level: int = -1) -> Tensor:
        """What the network of ``level`` gives; -1 is the finest.

        Raises:
            InputError: there is no such level; a scripted pyramid returns ``image``.
        """
        wanted = level + len(self.levels) if level < 0 else level
        result = image
        for index, network in enumerate(self.levels):  # TorchScript has no other way to choose a module
            if index == wanted:
                result = network(image)
        if not torch.jit.is_scripting():  # type: ignore[attr-defined]
            if not 0 <= wanted < len(self.levels):
                raise InputError(f"a pyramid of {len(self.levels)} levels has no level {level}")
        return smooth(result, self.field_sigma)
