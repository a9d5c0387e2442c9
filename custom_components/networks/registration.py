"""Registration networks by their names: moving and fixed image in, displacement field in voxels out."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from monai.networks.nets import VoxelMorphUNet
from torch import Tensor, nn

from custom_components.common import booleans
from custom_components.common.errors import InputError
from custom_components.networks.diffeomorphic import Diffeomorphic
from custom_components.networks.init_near_zero import DEVIATION, init_near_zero
from custom_components.networks.strided_unet import StridedUNet
from custom_components.networks.trans_morph import TransMorph

NAMES = ("unet", "voxelmorph", "transmorph")


class Padded(nn.Module):
    """A network that needs sides of a multiple, for images of any size: zeros at their ends, cut off again.

    Args:
        network: image -> (B, C, *spatial).
        multiple: of the sides.
    """

    def __init__(self, network: nn.Module, multiple: int) -> None:
        super().__init__()
        self.network = network
        self.multiple = multiple

    def forward(self, image: Tensor) -> Tensor:
        """(B, C, *spatial)."""
        pads: list[int] = []
        for axis in range(image.dim() - 1, 1, -1):  # F.pad takes the last axis first
            pads += [0, -image.size(axis) % self.multiple]
        result: Tensor = self.network(F.pad(image, pads))
        for axis in range(2, image.dim()):
            result = result.narrow(axis, 0, image.size(axis))
        return result


def registration_network(
    name: str = "unet",
    spatial_dims: int = 2,
    channels: Sequence[int] = (64, 128, 256),
    diffeomorphic: bool | str = False,
    norm: bool = True,
    dropout: float = 0.5,
) -> nn.Module:
    """A network of the comparison of Czolbe et al., "DeepSim", Medical Image Analysis 2023.

    Args:
        name: "unet", the paper's, see ``StridedUNet``; "voxelmorph", MONAI's ``VoxelMorphUNet``; "transmorph", see
            ``TransMorph``.
        spatial_dims: 2 or 3.
        channels: of the levels, finest first; of "transmorph" the first is the width of a patch, the rest unused.
        diffeomorphic: the output is integrated as a velocity, see ``Diffeomorphic``; the paper's is not.
        norm: batch normalisation in the encoder of "unet".
        dropout: of "unet".

    Raises:
        InputError: another name.
    """
    if name == "unet":
        network: nn.Module = StridedUNet(
            spatial_dims, 2, spatial_dims, channels,
            norm=norm, dropout=dropout, out_kernel=3, out_deviation=DEVIATION,
        )  # fmt: skip
    elif name == "voxelmorph":
        width = channels[0]
        unet = VoxelMorphUNet(spatial_dims, 2, 2 * width, _pairwise(channels), (width, width))
        flow = next(m for m in reversed(list(unet.modules())) if isinstance(m, nn.Conv2d | nn.Conv3d))
        init_near_zero(flow, DEVIATION)
        network = Padded(unet, 2 ** len(channels))
    elif name == "transmorph":
        network = TransMorph(spatial_dims, width=channels[0])
    else:
        raise InputError(f"backbone is {', '.join(NAMES)}, got '{name}'")
    return Diffeomorphic(network) if booleans.parse_bool(diffeomorphic, "diffeomorphic") else network


def _pairwise(channels: Sequence[int]) -> tuple[int, ...]:
    """Channels down, then the same number up, as ``VoxelMorphUNet`` takes them."""
    return (*channels, *(channels[-1] for _ in channels))
