"""Loss of matched points that are asked there and back."""

from __future__ import annotations

from torch import Tensor, nn


class CorrespondenceLoss(nn.Module):
    """Squared error of the answers, and of the way back where it nearly returns.

    Source: Jiang et al., "COTR", ICCV 2021, section 3.2; the bound on the way back is that of its public code.

    Args:
        reach: distance, in fractions of the canvas, beyond which a point that misses itself says nothing about the way
            back, since its answer is wrong already.
    """

    def __init__(self, reach: float = 10 / 256) -> None:
        super().__init__()
        self.reach = reach

    def forward(self, pred: Tensor, target: Tensor) -> Tensor:
        """(B, Q, 4) answers and answers to those, of ``AskedTwice``; (B, Q, 4) true answers and the queries."""
        there, back = ((pred - target) ** 2).split(2, dim=2)
        near = back.detach().sum(dim=2, keepdim=True) < self.reach**2
        result: Tensor = there.mean() + (back * near).sum() / (2 * near.sum()).clamp(min=1)
        return result
