"""SuperGlue's network: attention between the keypoints of two images, and an assignment with room for the unmatched."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from custom_components.common.errors import InputError

SPREAD = 0.7  # share of the longer side that becomes 1
Pair = tuple[Tensor, Tensor]


class SuperGlue(nn.Module):
    """Which keypoint of one image is which of the other, by their places, scores and descriptors.

    Source: Sarlin et al., "SuperGlue: Learning Feature Matching with Graph Neural Networks", CVPR 2020. Parameters are
    named as in its published files; the defaults are theirs.

    Args:
        width: channels of a descriptor.
        layers: of attention, the first, third, ... within an image, the others to the other image.
        heads: of the attention.
        encoder: channels of the layers that encode places and scores, before the last.
        iterations: of Sinkhorn's algorithm.

    Raises:
        InputError: the heads can't share the channels evenly.

    Examples:
        >>> places, scores, described = torch.rand(2, 1, 5, 2), torch.rand(2, 1, 5), torch.rand(2, 1, 5, 8)
        >>> SuperGlue(width=8, layers=2, encoder=(4,))(tuple(places), tuple(scores), tuple(described)).shape
        torch.Size([1, 6, 6])
    """

    def __init__(
        self,
        width: int = 256,
        layers: int = 18,
        heads: int = 4,
        encoder: Sequence[int] = (32, 64, 128, 256),
        iterations: int = 100,
    ) -> None:
        super().__init__()
        if width % heads:
            raise InputError(f"{heads} heads can't share {width} channels evenly")
        self.width = width
        self.iterations = iterations
        self.kenc = KeypointEncoder((3, *encoder, width))
        self.gnn = AlternatingAttention(width, layers, heads)
        self.final_proj = nn.Conv1d(width, width, 1)
        self.bin_score = nn.Parameter(torch.tensor(1.0))

    def forward(self, places: Pair, scores: Pair, descriptors: Pair) -> Tensor:
        """Logarithm of the probability of every pair; each argument is that of moving and fixed image.

        Args:
            places: (B, N, 2) and (B, M, 2), x and y of ``centred``.
            scores: (B, N) and (B, M) of the detector.
            descriptors: (B, N, width) and (B, M, width), of unit length.

        Returns:
            (B, N + 1, M + 1), moving by fixed, last of each axis the bin for keypoints without a match. All rows and
            columns but the last sum to 1 after ``exp``.
        """
        moving, fixed = (
            described.transpose(1, 2) + self.kenc(torch.cat([place, score[..., None]], dim=2).transpose(1, 2))
            for place, score, described in zip(places, scores, descriptors, strict=True)
        )
        moving, fixed = (self.final_proj(x) for x in self.gnn(moving, fixed))
        similarity = moving.transpose(1, 2) @ fixed / math.sqrt(self.width)
        return log_assignment(similarity, self.bin_score, self.iterations)


class KeypointEncoder(nn.Module):
    """x, y and score of a keypoint as something that is added to its descriptor: (B, 3, N) -> (B, channels[-1], N)."""

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()
        self.encoder = pointwise(channels)

    def forward(self, x: Tensor) -> Tensor:
        """(B, channels[0], N) -> (B, channels[-1], N)."""
        encoded: Tensor = self.encoder(x)
        return encoded


class AlternatingAttention(nn.Module):
    """Layers in which the keypoints ask those of their own image and those of the other by turns."""

    def __init__(self, width: int, layers: int, heads: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(Propagation(width, heads) for _ in range(layers))

    def forward(self, moving: Tensor, fixed: Tensor) -> tuple[Tensor, Tensor]:
        """(B, width, N) and (B, width, M), likewise out."""
        for index, layer in enumerate(self.layers):
            asked = (fixed, moving) if index % 2 else (moving, fixed)
            moving, fixed = moving + layer(moving, asked[0]), fixed + layer(fixed, asked[1])
        return moving, fixed


class Propagation(nn.Module):
    """What a keypoint learns from others: attention, and an MLP on that and the keypoint itself."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.attn = Attention(width, heads)
        self.mlp = pointwise((2 * width, 2 * width, width))

    def forward(self, x: Tensor, source: Tensor) -> Tensor:
        """(B, width, N) and those asked (B, width, M) -> (B, width, N), to be added to the first."""
        change: Tensor = self.mlp(torch.cat([x, self.attn(x, source)], dim=1))
        return change


class Attention(nn.Module):
    """Attention of several heads; channel ``c`` belongs to head ``c % heads``, as in the published weights."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.merge = nn.Conv1d(width, width, 1)
        self.proj = nn.ModuleList(nn.Conv1d(width, width, 1) for _ in range(3))  # query, key, value

    def forward(self, x: Tensor, source: Tensor) -> Tensor:
        """(B, width, N) and those asked (B, width, M) -> (B, width, N)."""
        query, key, value = (
            projection(tokens).unflatten(1, (-1, self.heads)).permute(0, 2, 3, 1)  # (B, heads, N, width / heads)
            for projection, tokens in zip(self.proj, (x, source, source), strict=True)
        )
        heard = F.scaled_dot_product_attention(query, key, value)
        merged: Tensor = self.merge(heard.permute(0, 3, 1, 2).flatten(1, 2))
        return merged


def pointwise(channels: Sequence[int]) -> nn.Sequential:
    """An MLP on every keypoint by itself, with batch normalisation and ReLU between its layers.

    Args:
        channels: in, between, and out.
    """
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(channels):
        layers += [nn.Conv1d(inputs, outputs, 1), nn.BatchNorm1d(outputs), nn.ReLU()]
    return nn.Sequential(*layers[:-2])


def centred(points: Tensor, size: Sequence[int]) -> Tensor:
    """Row, col pixels (..., 2) -> x, y (..., 2) from the image's centre, in 0.7 of its longer side.

    Args:
        points: of the image.
        size: H and W of the image.
    """
    middle = torch.tensor([side / 2 for side in size], device=points.device)
    return (points - middle).flip(-1) / (SPREAD * max(size))


def log_assignment(scores: Tensor, bin_score: Tensor, iterations: int) -> Tensor:
    """Logarithm of a soft assignment in which every row and column may also go to a bin.

    Args:
        scores: (B, N, M), larger for what belongs together.
        bin_score: () of a bin with anything.
        iterations: see ``log_sinkhorn``.

    Returns:
        (B, N + 1, M + 1). Each row and column weighs 1; the bin of the rows can take all M columns and vice versa.
    """
    batch, rows, columns = scores.shape
    filled = torch.cat([scores, bin_score.expand(batch, rows, 1)], dim=2)
    filled = torch.cat([filled, bin_score.expand(batch, 1, columns + 1)], dim=1)
    row_weights, column_weights = scores.new_zeros(batch, rows + 1), scores.new_zeros(batch, columns + 1)
    row_weights[:, -1] = math.log(columns)
    column_weights[:, -1] = math.log(rows)
    return log_sinkhorn(filled, row_weights, column_weights, iterations)


def log_sinkhorn(scores: Tensor, log_rows: Tensor, log_columns: Tensor, iterations: int) -> Tensor:
    """Scale rows and columns of ``exp(scores)`` by turns until they have given sums, in logarithms throughout.

    Source: Sinkhorn and Knopp, 1967; Cuturi, "Sinkhorn Distances", NeurIPS 2013.

    Args:
        scores: (B, R, C).
        log_rows: (B, R), logarithm of the sum that each row shall have.
        log_columns: (B, C), likewise; both with the same total.
        iterations: of a pass over the rows and one over the columns.

    Returns:
        (B, R, C), logarithms; the columns' sums are exact, the rows' approached.
    """
    row_shift, column_shift = torch.zeros_like(log_rows), torch.zeros_like(log_columns)
    for _ in range(iterations):
        row_shift = log_rows - (scores + column_shift[:, None, :]).logsumexp(dim=2)
        column_shift = log_columns - (scores + row_shift[:, :, None]).logsumexp(dim=1)
    return scores + row_shift[:, :, None] + column_shift[:, None, :]
