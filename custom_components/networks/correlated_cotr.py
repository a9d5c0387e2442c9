"""A small COTR that begins with correlated features instead of learning from nothing to compare.

The published network finds out over millions of steps that a query is to look at its own place, to compare what it
finds there with the other image, and to answer with a position. Here the comparison is written down: features of a
trained detector are correlated, and the transformer learns where the correlation errs. The canvas, the position code,
the layers and the way of asking are those of ``COTR``.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from custom_components.networks.cotr import (
    DecoderLayer,
    EncoderLayer,
    cell_centres,
    check_canvas,
    check_width,
    position_code,
)  # fmt: skip


class CorrelatedCOTR(nn.Module):
    """Answers queried points of an image pair, in either direction.

    Each cell of an image gets the mean position of the cells of the other one, weighted by the softmax of how alike
    and how near they are; so a new network answers already, and its head adds a correction, at first none.

    Args:
        features: a module (B, 1, H, W) grey in [0, 1] -> (B, channels, H / stride, W / stride) with the attributes
            ``channels`` and ``stride``, such as ``XFeatFeatures``.
        width: of the transformer, a multiple of 4 and of ``heads``.
        heads: of its attention.
        layers: of encoder and of decoder, each.
        hidden: of the layers between.
        sharpness: factor on the cosine of two features in the softmax; learned from here.
        reach: standard deviation of the distance between matching cells, sides of an image; learned from here.

    Raises:
        InputError: ``width`` does not go by 4 or by ``heads``.
    """

    def __init__(
        self,
        features: Any,
        width: int = 128,
        heads: int = 4,
        layers: int = 2,
        hidden: int = 256,
        sharpness: float = 60.0,
        reach: float = 0.15,
    ) -> None:
        super().__init__()
        check_width(width, heads)
        self.bands = width // 4
        self.features = features
        channels, self.stride = features.channels, 2 * features.stride  # cells are pooled by two
        self.metric = nn.Linear(channels, channels, bias=False)
        self.log_sharpness = nn.Parameter(torch.tensor(float(sharpness)).log())
        self.log_reach = nn.Parameter(torch.tensor(float(reach)).log())
        self.content = nn.Linear(channels, width)
        self.seen = nn.Linear(width, width)
        self.norm = nn.LayerNorm(width)
        self.encoder = nn.ModuleList(EncoderLayer(width, heads, hidden, 0.0, placed=True) for _ in range(layers))
        self.decoder = nn.ModuleList(DecoderLayer(width, heads, hidden, 0.0, placed=True) for _ in range(layers))
        self.head = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 2))
        nn.init.eye_(self.metric.weight)
        for parameter in self.head[-1].parameters():
            nn.init.zeros_(parameter)

    def encode(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """What ``decode`` needs of a pair.

        Args:
            image: (B, 2, S, S) grey in [0, 1], the canvas' left and right image; S a multiple of the stride.

        Returns:
            Cells (B, N, width), their position codes (1, N, width), and maps (B, 2, width + 2, h, w) of twice the
            resolution: what each place shows and sees in the other image, and x, y from there to its match.

        Raises:
            InputError: there are not two images, or they are no square of such a side.
        """
        check_canvas(image, self.stride)
        maps = torch.stack([self.features(image[:, side : side + 1]) for side in (0, 1)], dim=1)
        rows, columns = maps.shape[3:]
        found = F.normalize(self.metric(F.normalize(maps.flatten(3).transpose(2, 3), dim=3)), dim=3)
        centres = cell_centres(rows, columns, image)
        logits = self._likeness(found, centres[0] * centres.new_tensor([2.0, 1.0]))
        codes = position_code(centres, self.bands)
        away = [weights.softmax(dim=2) @ torch.cat([centres, codes], dim=2)[other]
                for other, weights in ((1, logits), (0, logits.transpose(1, 2)))]  # fmt: skip
        matched, seen = torch.stack(away, dim=1).split([2, codes.shape[2]], dim=3)
        shown = self.norm(self.content(found) + self.seen(seen))
        fine = torch.cat([shown, matched - centres], dim=3).transpose(2, 3).unflatten(3, (rows, columns))
        coarse = F.avg_pool2d(fine[:, :, :-2].flatten(0, 1), 2)
        code = position_code(cell_centres(rows // 2, columns // 2, image), self.bands).flatten(0, 1)[None]
        cells = coarse.flatten(2).transpose(1, 2).unflatten(0, (-1, 2)).flatten(1, 2)
        for layer in self.encoder:
            cells = layer(cells, code)
        return cells, code, fine

    def decode(self, cells: Tensor, code: Tensor, fine: Tensor, queries: Tensor) -> Tensor:
        """(B, Q, 2) points x, y of the canvas -> (B, Q, 2) points of its other half."""
        coarse = cells.unflatten(1, (2, fine.shape[3] // 2, fine.shape[4] // 2)).permute(0, 1, 4, 2, 3)
        x, shift = at(fine, queries).split([cells.shape[2], 2], dim=2)
        x = x + at(coarse, queries)
        query = position_code(queries, self.bands)
        for layer in self.decoder:
            x = layer(x, query, cells, code)
        answer: Tensor = queries + shift + self.head(x)
        return answer

    def forward(self, image: Tensor, queries: Tensor) -> Tensor:
        """See ``encode`` and ``decode``."""
        return self.decode(*self.encode(image), queries)

    def _likeness(self, found: Tensor, places: Tensor) -> Tensor:
        """(B, 2, N, C) unit features and (N, 2) places in an image -> (B, N, N) logits, left by right."""
        apart = (places[:, None] - places).square().sum(dim=2)
        alike = found[:, 0] @ found[:, 1].transpose(1, 2)
        logits: Tensor = self.log_sharpness.exp() * alike - apart / (2 * self.log_reach.exp() ** 2)
        return logits


def at(maps: Tensor, queries: Tensor) -> Tensor:
    """Linear between cells, never over the seam.

    Args:
        maps: (B, 2, C, h, w), of the left and of the right image.
        queries: (B, Q, 2) x, y of the canvas.

    Returns:
        (B, Q, C).
    """
    right = queries[..., :1] >= 0.5
    own = torch.cat([2 * queries[..., :1] - right.to(queries), queries[..., 1:]], dim=-1)
    left, other = (
        F.grid_sample(part, 2 * own[:, None] - 1, padding_mode="border", align_corners=False)[:, :, 0].transpose(1, 2)
        for part in maps.unbind(1)
    )
    return torch.where(right, other, left)
