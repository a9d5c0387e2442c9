"""Normalised mutual information."""

from __future__ import annotations

from math import log

import torch
from torch import Tensor, nn

from custom_components.common.errors import InputError
from custom_components.losses.masking import check_shapes

FULL_WIDTH = 2 * (2 * log(2)) ** 0.5  # of a Gaussian at half its height, in standard deviations


class NMILoss(nn.Module):
    """Minus ``(H(x) + H(y)) / H(x, y)`` of the grey values, averaged over the batch; -2 is best, -1 independent.

    Histograms are soft: each voxel adds a Gaussian whose full width at half its height is one bin. MONAI's
    ``GlobalMutualInformationLoss`` is the mutual information itself, whose size depends on the images' entropies.

    Source: Studholme et al., Pattern Recognition 1999; bins and share after Czolbe et al., "DeepSim".

    Args:
        bins: over ``value_range``.
        value_range: grey values of the first and the last bin's centre; those beyond it count as them.
        fraction: of the voxels, drawn anew in every call from PyTorch's global generator; 1 takes all.
        minimum: voxels that are drawn at least, where there are so many: thousands in a joint histogram of 64 x 64 bins
            are noise.

    Raises:
        InputError: fewer than two bins, an empty range, or a share that is not in (0, 1].
    """

    centres: Tensor

    def __init__(
        self, bins: int = 64, value_range: tuple[float, float] = (0.0, 1.0), fraction: float = 0.1, minimum: int = 65536
    ) -> None:
        super().__init__()
        low, high = value_range
        if bins < 2 or low >= high or not 0 < fraction <= 1:
            raise InputError(
                f"NMI needs two bins, a range and a share in (0, 1], got {bins}, {(low, high)} and {fraction}"
            )
        self.low, self.high, self.fraction, self.minimum = float(low), float(high), fraction, minimum
        width = (self.high - self.low) / (bins - 1)
        self.deviation = width / FULL_WIDTH
        self.register_buffer("centres", torch.linspace(self.low, self.high, bins), persistent=False)

    def forward(self, warped: Tensor, fixed: Tensor, mask: Tensor | None = None) -> Tensor:
        """Scalar; two constant images count -1 and give no gradient.

        Args:
            warped: (B, 1, *spatial).
            fixed: the same.
            mask: (B, 1, *spatial), weights in 0..1.
        """
        check_shapes(warped, fixed, mask)
        first, second = warped.flatten(1), fixed.flatten(1)
        weight = torch.ones_like(second) if mask is None else mask.flatten(1).to(second)
        count = max(round(self.fraction * first.shape[1]), self.minimum)
        if count < first.shape[1]:
            drawn = torch.randperm(first.shape[1], device=first.device)[:count]
            first, second, weight = first[:, drawn], second[:, drawn], weight[:, drawn]
        x, y = self._memberships(first), self._memberships(second) * weight[..., None]
        joint = torch.einsum("bni,bnj->bij", x, y)
        joint = joint / joint.sum(dim=(1, 2), keepdim=True).clamp(min=1e-12)
        together = _entropy(joint.flatten(1))
        apart = _entropy(joint.sum(2)) + _entropy(joint.sum(1))
        certain = together < 1e-6
        return -(apart / together.where(~certain, 1.0)).where(~certain, 1.0).mean()

    def _memberships(self, values: Tensor) -> Tensor:
        """(B, N) -> (B, N, bins) shares of each voxel."""
        distance = values.clamp(self.low, self.high)[..., None] - self.centres
        return torch.softmax(-0.5 * (distance / self.deviation).square(), dim=-1)


def _entropy(shares: Tensor) -> Tensor:
    return -(shares * shares.clamp(min=1e-12).log()).sum(1)
