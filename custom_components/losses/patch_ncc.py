"""Global normalised cross-correlation of patches."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from custom_components.losses.masking import check_shapes


def correlation(
    first: Tensor, second: Tensor, mask: Tensor | None = None, minimum_variance: float = 1e-8
) -> tuple[Tensor, Tensor]:
    """Correlation coefficient of the grey values of each pair of images.

    Args:
        first: (B, C, *spatial).
        second: (B, C, *spatial).
        mask: (B, C, *spatial), weights in 0..1.
        minimum_variance: of the grey values; an image below it has no contrast.

    Returns:
        The coefficients (B,) in -1..1, 0 where one of the images has no contrast, and (B,) bool, where both have.
    """
    first, second = first.flatten(1), second.flatten(1)
    weight = None
    if mask is not None:
        total = mask.flatten(1).sum(1, keepdim=True)
        weight = mask.flatten(1) / total.where(total > 0, 1.0)

    def mean(values: Tensor) -> Tensor:
        return values.mean(1) if weight is None else (weight * values).sum(1)

    first = first - mean(first)[:, None]
    second = second - mean(second)[:, None]
    variances = torch.stack([mean(first.square()), mean(second.square())])
    textured = (variances > minimum_variance).all(0)
    # the flat ones are replaced before the division, else their gradient would be NaN
    norm = variances.where(textured, 1.0).sqrt().prod(0)
    return mean(first * second) / norm * textured, textured


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
        check_shapes(warped, fixed, mask)
        coefficients, textured = correlation(warped, fixed, mask, self.minimum_variance)
        return -coefficients.sum() / textured.sum().clamp(min=1)
