"""Global normalised cross-correlation of patches."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from custom_components.losses.masking import check_pair


class PatchNCCLoss(nn.Module):
    """Minus the correlation coefficient of each patch, averaged over the patches that have any contrast.

    -1 is best, +1 an inverted image. Source: Wodzinski & Mueller, "Unsupervised Learning-based Nonrigid Registration of
    High Resolution Histology Images", MLMI 2020. Differences from its code: the coefficient is the exact one, which
    does not mix the divisors n and n - 1, and a patch without contrast is left out instead of counted as +1.

    Args:
        minimum_variance: of the grey values; a patch below it in one of the images is left out.
    """

    def __init__(self, minimum_variance: float = 1e-8) -> None:
        super().__init__()
        self.minimum_variance = minimum_variance

    def forward(self, warped: Tensor, fixed: Tensor, mask: Tensor | None = None) -> Tensor:
        """Scalar; 0 where no patch has contrast.

        Args:
            warped: (B, 1, *spatial), one patch a batch element.
            fixed: (B, 1, *spatial).
            mask: (B, 1, *spatial), weights in 0..1.
        """
        check_pair(warped, fixed, mask)
        first, second = warped.flatten(1), fixed.flatten(1)
        weight = torch.ones_like(second) if mask is None else mask.flatten(1)
        total = weight.sum(1, keepdim=True)
        weight = weight / total.where(total > 0, 1.0)
        first = first - (weight * first).sum(1, keepdim=True)
        second = second - (weight * second).sum(1, keepdim=True)
        covariance = (weight * first * second).sum(1)
        variances = torch.stack([(weight * first.square()).sum(1), (weight * second.square()).sum(1)])
        textured = (variances > self.minimum_variance).all(0)
        # the flat ones are replaced before the division, else their gradient would be NaN
        norm = variances.where(textured, 1.0).sqrt().prod(0)
        return -(covariance / norm * textured).sum() / textured.sum().clamp(min=1)
