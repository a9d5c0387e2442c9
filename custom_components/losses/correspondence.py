"""Loss of matched points that are asked there and back."""

from __future__ import annotations

from torch import Tensor, nn

TINY = 1e-4  # fractions of the canvas, below which distances are smooth


class CorrespondenceLoss(nn.Module):
    """Error of the answers, and of the way back where it nearly returns.

    Source: Jiang et al., "COTR", ICCV 2021, section 3.2; the bound on the way back is that of its public code. There
    the error is squared. Distances are ours: what can't be matched counts less, the outlier filters drop it anyway.

    Args:
        squared: mean square of the coordinates, else mean distance.
        reach: distance, in fractions of the canvas, beyond which a point that misses itself says nothing about the way
            back, since its answer is wrong already.
    """

    def __init__(self, reach: float = 10 / 256, squared: bool = True) -> None:
        super().__init__()
        self.squared = squared
        self.reach = reach

    def forward(self, pred: Tensor, target: Tensor) -> Tensor:
        """(B, Q, 4) answers and answers to those, of ``CycleCOTR``; (B, Q, 4) true answers and the queries."""
        there, back = (part.square().sum(dim=2) for part in (pred - target).split(2, dim=2))
        near = back.detach() < self.reach**2
        if self.squared:
            there, back = there / 2, back / 2
        else:
            there, back = ((part + TINY**2).sqrt() for part in (there, back))
        result: Tensor = there.mean() + (back * near).sum() / near.sum().clamp(min=1)
        return result
