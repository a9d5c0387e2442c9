"""Matched points of two images, the currency between matchers, outlier filters and interpolation."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from custom_components.common.errors import InputError


@dataclass(frozen=True)
class PointPairs:
    """Row i of ``moving`` and row i of ``fixed`` show the same structure.

    Attributes:
        moving: (N, D) float, (row, col) voxels of the moving image, voxel centres at integers.
        fixed: (N, D) float, the same of the fixed image.
        score: (N,) float, confidence of the matcher, larger is better; scales differ between matchers.
    """

    moving: Tensor
    fixed: Tensor
    score: Tensor

    def __post_init__(self) -> None:
        if self.moving.ndim != 2 or self.moving.shape != self.fixed.shape or self.score.shape != self.moving.shape[:1]:
            raise InputError(
                "point pairs need moving (N, D), fixed (N, D) and score (N,), got "
                f"{tuple(self.moving.shape)}, {tuple(self.fixed.shape)}, {tuple(self.score.shape)}"
            )

    def __len__(self) -> int:
        return self.moving.shape[0]

    def select(self, keep: Tensor) -> PointPairs:
        """The pairs that a boolean mask (N,) or an index tensor keeps."""
        return PointPairs(self.moving[keep], self.fixed[keep], self.score[keep])

    def cpu(self) -> PointPairs:
        """The same pairs in ordinary memory."""
        return PointPairs(self.moving.cpu(), self.fixed.cpu(), self.score.cpu())

    @staticmethod
    def empty(dimensions: int = 2) -> PointPairs:
        """No pairs."""
        return PointPairs(torch.zeros(0, dimensions), torch.zeros(0, dimensions), torch.zeros(0))

    @staticmethod
    def concatenate(parts: list[PointPairs]) -> PointPairs:
        """The union of several sets, in order; an empty list gives no pairs."""
        if not parts:
            return PointPairs.empty()
        return PointPairs(
            torch.cat([p.moving for p in parts]),
            torch.cat([p.fixed for p in parts]),
            torch.cat([p.score for p in parts]),
        )
