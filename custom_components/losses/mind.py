"""Modality-independent neighbourhood descriptors with self-similarity context.

Source: Heinrich et al., "Towards Realtime Multimodal Fusion for Image-Guided Interventions Using Self-similarities",
MICCAI 2013. Difference: the local noise estimate has an absolute floor instead of one relative to the image's mean, so
a descriptor depends on its neighbourhood alone.
"""

from __future__ import annotations

from itertools import combinations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from custom_components.common.errors import InputError
from custom_components.losses.masking import check_shapes, weighted_mean

Step = tuple[int, ...]


def neighbour_pairs(dimensions: int) -> list[tuple[Step, Step]]:
    """Pairs of unit steps that are not opposite: 4 in 2-D, 12 in 3-D."""
    steps = [
        tuple(sign if axis == along else 0 for axis in range(dimensions))
        for along in range(dimensions)
        for sign in (-1, 1)
    ]
    return [(a, b) for a, b in combinations(steps, 2) if any(i + j for i, j in zip(a, b, strict=True))]


def mind_ssc(image: Tensor, radius: int = 2, dilation: int = 2, minimum_variance: float = 1e-6) -> Tensor:
    """Descriptor of the texture about each voxel, unchanged by affine changes of grey, inversion among them.

    Channel k is ``exp(-(d_k - min d) / v)``: ``d_k`` is the mean squared difference of the patches about two neighbours
    of the voxel that are neighbours themselves, v the mean of ``d - min d`` over the pairs. The image goes on beyond
    its border with its border's values.

    Args:
        image: (B, 1, *spatial), grey values that span about 1.
        radius: of the patches, voxels; they are 2 radius + 1 wide.
        dilation: distance of the neighbours from the voxel, voxels.
        minimum_variance: floor of v, squared grey values.

    Returns:
        (B, 4, *spatial) in 2-D, (B, 12, *spatial) in 3-D, in 0..1.
    """
    dimensions = image.ndim - 2
    spatial = image.shape[2:]
    padded = F.pad(image, (dilation + radius,) * 2 * dimensions, mode="replicate")

    def shifted(step: Step) -> Tensor:
        view = padded
        for axis, (along, side) in enumerate(zip(step, spatial, strict=True), start=2):
            view = view.narrow(axis, dilation * (1 + along), side + 2 * radius)
        return view

    distance = torch.cat([(shifted(a) - shifted(b)).square() for a, b in neighbour_pairs(dimensions)], dim=1)
    for axis, side in enumerate(spatial, start=2):  # PyTorch's pooling takes five times as long
        parts = [distance.narrow(axis, first, side) for first in range(2 * radius + 1)]
        distance = sum(parts[1:], parts[0]) / len(parts)
    distance = distance - distance.amin(1, keepdim=True)
    return torch.exp(-distance / distance.mean(1, keepdim=True).clamp(min=minimum_variance))


class MINDSSCLoss(nn.Module):
    """Difference of the pair's ``mind_ssc`` descriptors, averaged over channels and under the mask; 0 is best.

    Args:
        radius: see ``mind_ssc``.
        dilation: see ``mind_ssc``.
        absolute: mean absolute instead of mean squared difference.
        minimum_variance: see ``mind_ssc``.

    Raises:
        InputError: ``radius`` is negative or ``dilation`` below 1.
    """

    def __init__(
        self, radius: int = 2, dilation: int = 2, absolute: bool = False, minimum_variance: float = 1e-6
    ) -> None:
        super().__init__()
        if radius < 0 or dilation < 1:
            raise InputError(f"radius is at least 0 and dilation at least 1, got {radius} and {dilation}")
        self.radius = radius
        self.dilation = dilation
        self.absolute = absolute
        self.minimum_variance = minimum_variance

    def forward(self, warped: Tensor, fixed: Tensor, mask: Tensor | None = None) -> Tensor:
        """Scalar.

        Args:
            warped: (B, 1, *spatial).
            fixed: (B, 1, *spatial).
            mask: (B, 1, *spatial), weights in 0..1.
        """
        check_shapes(warped, fixed, mask)
        first, second = (mind_ssc(i, self.radius, self.dilation, self.minimum_variance) for i in (warped, fixed))
        difference = (first - second).abs() if self.absolute else (first - second).square()
        return weighted_mean(difference.mean(1, keepdim=True), mask)
