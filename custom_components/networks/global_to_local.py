"""A coarse field, the joint saliency of what it aligns, and a small network that refines the field by it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from monai.networks.blocks import Convolution
from monai.networks.nets import GlobalNet, LocalNet, RegUNet
from torch import Tensor, nn

from custom_components.common import booleans
from custom_components.common.errors import InputError
from custom_components.networks.flow_net import FlowNet, rectified, start_rectified
from custom_components.networks.init_near_zero import DEVIATION, init_near_zero
from custom_components.networks.joint_saliency import JointSaliency
from custom_components.networks.registration import Padded, registration_network
from custom_components.networks.warp import warp

STAGES = ("coarse", "local", "forward", "backward", "voxelmorph")
GLOBAL = ("flownet", "regunet", "globalnet", "initial_field")
LOCAL = ("stack", "localnet")


class ConvolutionStack(nn.Sequential):
    """The refining network of the source: convolutions of kernel 3 with LeakyReLU of slope 0.1, the last one linear.

    Args:
        spatial_dims: 2 or 3.
        in_channels: of what it sees.
        channels: of all but the last convolution.
    """

    def __init__(self, spatial_dims: int, in_channels: int, channels: Sequence[int] = (128, 64, 32)) -> None:
        widths = (in_channels, *channels)
        hidden = [rectified(spatial_dims, a, b) for a, b in zip(widths, channels, strict=False)]
        last = Convolution(spatial_dims, widths[-1], spatial_dims, kernel_size=3, conv_only=True)
        super().__init__(*hidden, last)
        start_rectified(self)
        init_near_zero(last.conv, DEVIATION)


class GivenField(nn.Module):
    """Takes the coarse field from the input, behind the images: the result of any other method, to be refined."""

    def forward(self, image: Tensor) -> Tensor:
        """(B, 2 + D, *spatial) moving, fixed, ddf -> the ddf (B, D, *spatial)."""
        return image[:, 2:]


class GlobalToLocal(nn.Module):
    """``coarse(pair)``, refined by ``local`` from the coarse field and the joint saliency of fixed and warped image.

    Source: the thesis on joint saliency in a global-to-local network, with two differences that are options:
    refinement adds to the coarse field, which makes an untrained ``local`` harmless, and sees the images too.

    Args:
        coarse: (B, 2, *spatial) moving and fixed -> (B, D, *spatial) ddf.
        local: (B, C, *spatial) -> (B, D, *spatial); C is D + 1, or D + 3 with ``images``. None leaves the coarse field.
        saliency: of fixed and warped image; None gives ``local`` zeros in its place.
        backward: gradients reach ``coarse`` through the saliency; otherwise only its values are used.
        residual: ``local`` corrects the coarse field; otherwise it gives the whole field.
        images: ``local`` also sees the fixed and the warped image.
        every_stage: append the coarse field and the joint saliency to the output, for a loss.
    """

    def __init__(
        self,
        coarse: nn.Module,
        local: nn.Module | None = None,
        saliency: JointSaliency | None = None,
        backward: bool = True,
        residual: bool = True,
        images: bool = True,
        every_stage: bool = False,
    ) -> None:
        super().__init__()
        self.coarse = coarse
        self.refines = local is not None
        self.local = local if local is not None else nn.Identity()
        self.salient = saliency is not None
        self.saliency = saliency if saliency is not None else JointSaliency()
        self.backward = backward
        self.residual = residual
        self.images = images
        self.every_stage = every_stage

    def forward(self, image: Tensor) -> Tensor:
        """(B, 2, *spatial) moving and fixed, or what ``coarse`` takes -> (B, D, *spatial) ddf, voxels, fixed -> moving.

        With ``every_stage`` (B, 2 D + 1, *spatial): the ddf, the coarse ddf, the joint saliency.
        """
        ddf, coarse, joint = self.stages(image)
        return torch.cat([ddf, coarse, joint], dim=1) if self.every_stage else ddf

    def stages(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The ddf, the coarse ddf and the joint saliency of the pair after it (zeros where there is none)."""
        moving, fixed = image[:, :1], image[:, 1:2]
        coarse = self.coarse(image)
        warped = warp(moving, coarse)
        joint = torch.zeros_like(moving)
        if self.salient:
            joint = self.saliency(fixed, warped)
            if not self.backward:
                joint = joint.detach()
        if not self.refines:
            return coarse, coarse, joint
        seen = [coarse, joint]
        if self.images:
            seen += [fixed, warped]
        found = self.local(torch.cat(seen, dim=1))
        return coarse + found if self.residual else found, coarse, joint


def joint_saliency_network(
    stages: str = "backward",
    coarse: str = "flownet",
    local: str = "stack",
    spatial_dims: int = 2,
    channels: Sequence[int] = (16, 32, 32, 64),
    local_channels: Sequence[int] = (16, 16, 16),
    sigma: float = 1.0,
    reference_implementation: bool | str = False,
    residual: bool | str = True,
    images: bool | str = True,
    side: int | Sequence[int] | None = None,
    every_stage: bool | str = False,
) -> nn.Module:
    """The networks of the ablation.

    Args:
        stages: "coarse", the coarse network alone; "local", refined with zeros in place of the joint saliency;
            "forward", with the saliency as an input; "backward", with gradients through it too. "voxelmorph" is the
            baseline, MONAI's network of the same widths.
        coarse: "flownet", the source's, see ``FlowNet``; "regunet", MONAI's ``RegUNet`` without its finest level;
            "globalnet", MONAI's, an affine, for images of one size; "initial_field", see ``GivenField``.
        local: "stack", the source's, see ``ConvolutionStack``; "localnet", MONAI's.
        spatial_dims: 2 or 3.
        channels: of the coarse network's levels, finest first; MONAI's double the first from level to level.
        local_channels: of "stack"; the first is the width of "localnet".
        sigma: see ``JointSaliency``.
        reference_implementation: likewise.
        residual: see ``GlobalToLocal``.
        images: likewise.
        side: voxels a side of every image, for "globalnet".
        every_stage: see ``GlobalToLocal``.

    Raises:
        InputError: a name is none of these, or "globalnet" without ``side``.
    """
    if stages not in STAGES:
        raise InputError(f"stages is {', '.join(STAGES)}, got '{stages}'")
    if stages == "voxelmorph":
        return registration_network("voxelmorph", spatial_dims, channels)
    images = booleans.parse_bool(images, "images")
    seen = spatial_dims + (3 if images else 1)
    return GlobalToLocal(
        _coarse(coarse, spatial_dims, channels, side),
        None if stages == "coarse" else _local(local, spatial_dims, seen, local_channels),
        JointSaliency(sigma, booleans.parse_bool(reference_implementation, "reference_implementation"))
        if stages in ("forward", "backward")
        else None,
        stages == "backward",
        booleans.parse_bool(residual, "residual"),
        images,
        booleans.parse_bool(every_stage, "every_stage"),
    )


def _coarse(name: str, spatial_dims: int, channels: Sequence[int], side: int | Sequence[int] | None) -> nn.Module:
    depth = len(channels) - 1
    if name == "flownet":
        return FlowNet(spatial_dims, channels)
    if name == "regunet":
        network = RegUNet(
            spatial_dims, 2, channels[0], depth, out_channels=spatial_dims, extract_levels=tuple(range(1, depth + 1)),
            out_kernel_initializer="zeros", concat_skip=True,
        )  # fmt: skip
        return Padded(network, 2**depth)
    if name == "globalnet":
        if side is None:
            raise InputError("globalnet takes images of one size only: give --side VOXELS")
        size = [side] * spatial_dims if isinstance(side, int) else list(side)
        affine: nn.Module = GlobalNet(size, spatial_dims, 2, channels[0], depth)
        return affine
    if name == "initial_field":
        return GivenField()
    raise InputError(f"coarse is {', '.join(GLOBAL)}, got '{name}'")


def _local(name: str, spatial_dims: int, inputs: int, channels: Sequence[int]) -> nn.Module:
    if name == "stack":
        return ConvolutionStack(spatial_dims, inputs, channels)
    if name == "localnet":
        network = LocalNet(
            spatial_dims, inputs, channels[0], (0, 1, 2, 3), out_channels=spatial_dims, out_kernel_initializer="zeros"
        )  # fmt: skip
        return Padded(network, 8)
    raise InputError(f"local is {', '.join(LOCAL)}, got '{name}'")
