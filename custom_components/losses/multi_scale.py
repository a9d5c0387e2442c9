"""A loss of the fields that a coarse-to-fine network predicts at its levels."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from custom_components.common.errors import InputError


class PyramidLoss(nn.Module):
    """Weighted sum of a loss over all predictions.

    Source of the default weights: the training of MaskFlownet (Zhao et al., CVPR 2020), which compares all predictions
    at full resolution and counts the finest most.

    Args:
        loss: of (ddf, label).
        weights: coarsest prediction first.

    Raises:
        InputError: there is no weight.
    """

    def __init__(self, loss: nn.Module, weights: Sequence[float] = (0.005, 0.01, 0.02, 0.08, 0.32)) -> None:
        super().__init__()
        if not weights:
            raise InputError("weights has a number a prediction, got none")
        self.loss = loss
        self.weights = tuple(weights)

    def forward(self, predictions: Sequence[Tensor], label: Tensor) -> Tensor:
        """Scalar.

        Args:
            predictions: ddfs (B, D, *spatial), all on the grid of ``label``, coarsest level first.
            label: what the loss compares with.

        Raises:
            InputError: there are not as many predictions as weights.
        """
        if len(predictions) != len(self.weights):
            raise InputError(f"{len(predictions)} predictions, but {len(self.weights)} weights")
        losses = [weight * self.loss(ddf, label) for weight, ddf in zip(self.weights, predictions, strict=True)]
        total: Tensor = sum(losses[1:], losses[0])
        return total
