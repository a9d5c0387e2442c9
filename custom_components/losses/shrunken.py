"""A similarity of images at coarser scales than their own."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from custom_components.common.errors import InputError


class ShrunkenLoss(nn.Module):
    """Mean of a loss over the pair averaged in blocks of several sizes: what stains share is rarely in single pixels.

    Args:
        loss: of (warped, fixed, mask), such as ``WindowedNCCLoss``.
        factors: sides of the blocks, voxels; 1 is the pair as it is.

    Raises:
        InputError: there are no factors, or one is below 1.
    """

    def __init__(self, loss: nn.Module, factors: Sequence[int] = (2, 4)) -> None:
        super().__init__()
        if not factors or min(factors) < 1:
            raise InputError(f"factors are blocks of at least one voxel, got {tuple(factors)}")
        self.loss = loss
        self.factors = tuple(factors)

    def forward(self, warped: Tensor, fixed: Tensor, mask: Tensor | None = None) -> Tensor:
        """Scalar.

        Args:
            warped: (B, C, *spatial).
            fixed: the same.
            mask: (B, 1, *spatial), weights in 0..1.
        """
        pool = F.avg_pool2d if fixed.ndim == 4 else F.avg_pool3d
        found = []
        for factor in self.factors:
            parts = [None if part is None else pool(part, factor) for part in (warped, fixed, mask)]
            found.append(self.loss(*parts))
        return torch.stack(found).mean()
