"""How much each of several proposed fields counts at a place, learned from landmarks."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from custom_components.common.weights import for_inference


class VoteWeights(nn.Module):
    """Shares of any number of proposals in a common vote, from what speaks for each of them and for all.

    A proposal's features, their difference from the mean of the proposals and that mean go through one small network
    that all proposals share, so their order and number don't matter.

    Args:
        features: of a proposal, see ``proposal_features.FEATURES``.
        hidden: units of both hidden layers.
        dropout: of the first, in training.
    """

    def __init__(self, features: int = 9, hidden: int = 32, dropout: float = 0.1) -> None:
        super().__init__()
        self.mean: Tensor
        self.deviation: Tensor
        self.register_buffer("mean", torch.zeros(3 * features))
        self.register_buffer("deviation", torch.ones(3 * features))
        self.layers = nn.Sequential(
            nn.Linear(3 * features, hidden), nn.ReLU(), nn.Dropout(dropout),
            nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, 1),
        )  # fmt: skip

    @classmethod
    def read(cls, file: str | Path) -> VoteWeights:
        """From the state dict that ``benchmarks.vote_weights`` writes, for inference.

        Raises:
            InputError: the file is missing or holds another network.
        """
        return for_inference(cls(), file, "votes")

    @staticmethod
    def in_context(features: Tensor) -> Tensor:
        """(N, K, F) -> (N, K, 3 F), what the layers see before it is standardised."""
        mean = features.mean(1, keepdim=True).expand_as(features)
        return torch.cat([features, features - mean, mean], dim=2)

    def standardise_by(self, features: Tensor) -> None:
        """Take mean and deviation from (N, K, F)."""
        seen = self.in_context(features).flatten(0, 1)
        self.mean.copy_(seen.mean(0))
        self.deviation.copy_(seen.std(0) + 1e-3)

    def forward(self, features: Tensor) -> Tensor:
        """(N, K, F) at N places -> (N, K), summing to one over the proposals."""
        seen = (self.in_context(features) - self.mean) / self.deviation
        shares: Tensor = self.layers(seen)[..., 0].softmax(1)
        return shares

    def of_maps(self, features: Tensor) -> Tensor:
        """(K, F, h, w) -> (K, h, w)."""
        count, kinds, height, width = features.shape
        shares: Tensor = self(features.permute(2, 3, 0, 1).reshape(height * width, count, kinds))
        return shares.transpose(0, 1).reshape(count, height, width)
