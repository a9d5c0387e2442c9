"""Networks that see a pair at once and return its affine.

Source: Wodzinski & Mueller, "Learning-based affine registration of histological images", WBIR 2020, and the public code
of DeepHistReg. Difference: the last layer starts with zero weights and the identity as its bias, so training starts
from what the pair is.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from monai.networks.blocks import Convolution, ResidualUnit
from torch import Tensor, nn

from custom_components.common.errors import InputError
from custom_components.networks.sizes import check_sides

MINIMUM_SIDE = 9  # pixels; fewer leave a single value a channel to normalise at the coarsest level


def theta_to_matrix(theta: Tensor, spatial: Sequence[int]) -> Tensor:
    """Affine in voxels, as ``fields.affine_to_ddf`` takes it, from one in normalised coordinates; differentiable.

    Args:
        theta: (B, D, D+1), fixed -> moving, array-axis order; -1 and 1 are the centres of the first and last voxel.
        spatial: (D,) size of the grid that both images have.

    Returns:
        (B, D+1, D+1), voxels, fixed -> moving, array-axis order.
    """
    half = torch.tensor([max(side - 1, 1) / 2 for side in spatial], dtype=theta.dtype, device=theta.device)
    to_voxels = torch.diag(torch.cat([half, half.new_ones(1)]))
    to_voxels[:-1, -1] = half
    last_row = torch.eye(len(half) + 1, dtype=theta.dtype, device=theta.device)[-1:].expand(len(theta), -1, -1)
    matrix: Tensor = to_voxels @ torch.cat([theta, last_row], dim=1) @ torch.linalg.inv(to_voxels)
    return matrix


class AffineNet(nn.Module):
    """Residual network over the whole pair.

    Strided convolution, four down units with plain units between, two strided convolutions, average, linear layer.
    The norms are group norms with one channel a group but for the last two, which have one group of all channels: the
    average that follows is nearly the same for every pair where each channel was brought to mean zero before, and
    training hardly moves.

    Args:
        in_channels: of moving and fixed together.
        width: channels after the first convolution; the coarsest level has 16 times as many.
    """

    def __init__(self, in_channels: int = 2, width: int = 64) -> None:
        super().__init__()
        self.features = nn.Sequential(
            _first(in_channels, width),
            DownUnit(width),
            _plain_unit(2 * width),
            DownUnit(2 * width),
            _plain_unit(4 * width),
            DownUnit(4 * width),
            DownUnit(8 * width),
            _block(16 * width, 8 * width, strides=2, groups=1),
            _block(8 * width, 4 * width, strides=2, groups=1),
        )
        self.theta = _identity_layer(4 * width)

    def forward(self, image: Tensor) -> Tensor:
        """Affine of a pair; ``theta_to_matrix`` brings it to voxels.

        Args:
            image: (B, in_channels, H, W), moving and fixed concatenated over channels, moving first.

        Returns:
            (B, 2, 3), row/col, normalised coordinates (-1 and 1 the centres of the border pixels), fixed -> moving.

        Raises:
            InputError: a side is below 9 pixels; a scripted network doesn't check.
        """
        if not torch.jit.is_scripting():  # type: ignore[attr-defined]
            check_sides(image, MINIMUM_SIDE)
        theta: Tensor = self.theta(self.features(image).mean([2, 3]))
        return theta.view(-1, 2, 3)


class PatchAffineNet(nn.Module):
    """Features of patches, put back on the patches' grid and judged together; for images of any size.

    The images are padded with zeros, centred, to whole patches. One extractor sees each image's patches; the pair's
    features become one vector a patch, and convolutions over the grid of vectors relate it to its neighbours.
    The extractor's group norms have one channel a group; those on the grid, where a channel may have a single value,
    have one group of all channels, which the source leaves open.

    Args:
        patch_size: pixels a side.
        width: channels after the first convolution; a patch's vector has 8 times as many.

    Raises:
        InputError: ``patch_size`` is below 9.
    """

    def __init__(self, patch_size: int = 224, width: int = 32) -> None:
        super().__init__()
        if patch_size < MINIMUM_SIDE:
            raise InputError(f"patch_size is at least {MINIMUM_SIDE}, got {patch_size}")
        self.patch_size = patch_size
        vector = 8 * width
        self.extractor = nn.Sequential(
            _first(1, width), DownUnit(width), DownUnit(2 * width), DownUnit(4 * width), _plain_unit(vector)
        )
        self.pairing = nn.Sequential(_block(2 * vector, vector, strides=2), _block(vector, vector, strides=2))
        self.grid = nn.Sequential(_block(vector, vector, groups=1), _block(vector, vector, groups=1))
        self.hidden = nn.Sequential(nn.Linear(vector, vector), nn.PReLU())
        self.theta = _identity_layer(vector)

    def forward(self, image: Tensor) -> Tensor:
        """Affine of a pair; ``theta_to_matrix`` brings it to voxels.

        Args:
            image: (B, 2, H, W), moving and fixed.

        Returns:
            (B, 2, 3), row/col, normalised coordinates of the image as given, fixed -> moving.
        """
        side = self.patch_size
        rows, columns = [(image.size(axis) + side - 1) // side for axis in (2, 3)]
        missing_rows, missing_columns = rows * side - image.size(2), columns * side - image.size(3)
        top, left = missing_rows // 2, missing_columns // 2
        padded = F.pad(image, [left, missing_columns - left, top, missing_rows - top])
        # (B, 2, rows, side, columns, side) -> (2, B * rows * columns, 1, side, side)
        patches = padded.view(-1, 2, rows, side, columns, side).permute(1, 0, 2, 4, 3, 5).reshape(2, -1, 1, side, side)
        pairs = torch.cat([self.extractor(patches[0]), self.extractor(patches[1])], dim=1)
        vectors = self.pairing(pairs).mean([2, 3]).view(image.size(0), rows, columns, -1).permute(0, 3, 1, 2)
        theta: Tensor = self.theta(self.hidden(self.grid(vectors).mean([2, 3])))
        return theta.view(-1, 2, 3)


class DownUnit(nn.Module):
    """Residual unit that halves the sides and doubles the channels.

    Its strided convolutions pad by 3 pixels, the other by 1; MONAI's ``ResidualUnit`` has one padding for all.

    Args:
        channels: of the input.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        double = 2 * channels
        self.main = nn.Sequential(_block(channels, double, strides=2, padding=3), _block(double, double))
        self.shortcut = Convolution(2, channels, double, strides=2, padding=3, conv_only=True)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, 2C, (H + 5) // 2, (W + 5) // 2)."""
        added: Tensor = self.main(x) + self.shortcut(x)
        return added


def _first(inputs: int, outputs: int) -> Convolution:
    return Convolution(2, inputs, outputs, strides=2, kernel_size=7, conv_only=True)


def _block(inputs: int, outputs: int, strides: int = 1, padding: int = 1, groups: int | None = None) -> Convolution:
    norm = ("group", {"num_groups": outputs if groups is None else groups})
    return Convolution(2, inputs, outputs, strides=strides, padding=padding, norm=norm)


def _plain_unit(channels: int) -> ResidualUnit:
    return ResidualUnit(2, channels, channels, subunits=2, norm=("group", {"num_groups": channels}))


def _identity_layer(inputs: int) -> nn.Linear:
    layer = nn.Linear(inputs, 6)
    with torch.no_grad():
        layer.weight.zero_()
        layer.bias.copy_(torch.tensor([1.0, 0, 0, 0, 1, 0]))
    return layer
