"""Descriptors from square patches around the points, cut at several sizes and turns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from custom_components.common.errors import InputError
from custom_components.fields import sample
from custom_components.matching.point_descriptor import check_points


class PyramidNetwork(Protocol):
    """A network with an encoder: ``pyramid(image)`` gives features, deepest last, as ``MaskFlownetS`` has it."""

    pyramid: nn.Module


def cut_patches(image: Tensor, points: Tensor, half_width: float, degrees: float, size: int) -> Tensor:
    """Squares around points, read between voxels; zeros beyond the image.

    Args:
        image: (1, 1, H, W).
        points: (N, 2) row, col voxels.
        half_width: voxels of the image that half a side covers.
        degrees: the square is turned by this from rows towards columns about its point, so that the patch shows
            the tissue turned the other way.
        size: samples a side.

    Returns:
        (N, 1, size, size).
    """
    axis = ((torch.arange(size, device=image.device) + 0.5) / size * 2 - 1) * half_width
    row, column = torch.meshgrid(axis, axis, indexing="ij")
    angle = torch.deg2rad(torch.tensor(float(degrees)))
    cosine, sine = angle.cos().to(axis), angle.sin().to(axis)
    offsets = torch.stack([cosine * row - sine * column, sine * row + cosine * column])  # (2, size, size)
    positions = points.to(axis).T[:, :, None, None] + offsets[:, None]  # (2, N, size, size)
    patches = sample(image, positions.flatten(1, 2)[None], padding_mode="zeros")
    return patches.reshape(-1, 1, size, size)


def describe_patches(
    image: Tensor,
    points: Tensor,
    encode: Callable[[Tensor], Tensor],
    *,
    half_widths: Sequence[float],
    rotations: int,
    size: int,
    batch: int,
) -> Tensor:
    """Features of patches around points: those of all turns side by side, one group for every half width.

    Args:
        image: (1, 1, H, W), on the device that computes.
        points: (N, 2) row, col voxels.
        encode: patches (B, 1, size, size) -> features (B, C).
        half_widths: voxels.
        rotations: equal turns of a full circle.
        size: samples a side.
        batch: patches at a time.

    Returns:
        (N, len(half_widths), rotations * C), every group of unit length, on the CPU.
    """
    if len(points) == 0:
        return torch.zeros(0, len(half_widths), 1)
    groups = []
    for half_width in half_widths:
        turns = [
            torch.cat([encode(cut_patches(image, part, half_width, 360 * k / rotations, size)).float().cpu()
                       for part in points.split(batch)])
            for k in range(rotations)
        ]  # fmt: skip
        groups.append(torch.cat(turns, dim=1))
    return F.normalize(torch.stack(groups, dim=1), dim=2)


def check_patches(half_widths: Sequence[float], rotations: int, size: int, batch: int) -> None:
    """Raise ``InputError`` unless there is a half width, all are positive and the counts are 1 or more."""
    if not half_widths or min(half_widths) <= 0:
        raise InputError(f"half_widths must be positive voxels, got {list(half_widths)}")
    if min(rotations, size, batch) < 1:
        raise InputError(f"rotations, size and batch must be 1 or more, got {rotations}, {size}, {batch}")


class EncoderDescriptor:
    """Patches as the encoder of the registration network itself sees them.

    Source: the learnable deep features of the keypoint-guided method (Wei et al., IEEE TMI 2024), which take 15 patches
    (5 sizes, 3 image scales) at 16 turns of a point; patch minus its mean, deepest level of the pyramid, turns
    concatenated, unit length, cosine averaged over the patches.

    Args:
        network: with the attribute ``pyramid``; it may go on being trained, its weights of the moment are used.
        half_widths: voxels; each is a group.
        rotations: turns of each patch, spread over the full circle.
        size: patches are resized to this; at the pyramid's largest stride one feature vector is left.
        batch: patches at a time.

    Raises:
        InputError: a number is not positive, or the network has no ``pyramid``.
    """

    def __init__(
        self,
        network: PyramidNetwork,
        half_widths: Sequence[float] = (10.0, 20.0, 30.0),
        rotations: int = 4,
        size: int = 64,
        batch: int = 1024,
    ) -> None:
        check_patches(half_widths, rotations, size, batch)
        if not hasattr(network, "pyramid"):
            raise InputError(f"{type(network).__name__} has no encoder 'pyramid'; give a MaskFlownetS")
        self.network = network
        self.half_widths = [float(width) for width in half_widths]
        self.rotations = rotations
        self.size = size
        self.batch = batch

    @torch.inference_mode()
    def __call__(self, image: Tensor, points: Tensor) -> Tensor:
        """Descriptors (N, half widths, C * rotations) on the CPU; see ``PointDescriptor``."""
        check_points(image, points)
        weight = next(self.network.pyramid.parameters())

        def encode(patches: Tensor) -> Tensor:
            centred = patches - patches.mean(dim=(2, 3), keepdim=True)
            deepest: Tensor = self.network.pyramid(centred)[-1]
            return deepest.flatten(1)

        return describe_patches(
            image.to(weight),
            points.to(weight),
            encode,
            half_widths=self.half_widths,
            rotations=self.rotations,
            size=self.size,
            batch=self.batch,
        )
