"""COTR: where is this point of one image in the other? A transformer answers for any point that is asked.

Source: Jiang et al., "COTR: Correspondence Transformer for Matching Across Images", ICCV 2021. Both images lie side by
side on one canvas; a point is a fraction (x, y) of it: the first image has x from 0 to 0.5, the second from 0.5 to 1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from monai.networks.nets.resnet import ResNet, ResNetBlock, ResNetBottleneck
from torch import Tensor, nn

from custom_components.common.errors import InputError

MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet, which the published backbone saw


def to_canvas(points: Tensor, shape: Sequence[int], second: bool) -> Tensor:
    """Voxels of one image -> fractions of the canvas.

    Args:
        points: (..., 2) row, col; voxel centres at integers.
        shape: (H, W) of the image.
        second: of the canvas' images it is the one on the right.

    Returns:
        (..., 2) x, y.
    """
    size = torch.tensor([shape[0], shape[1]], dtype=points.dtype, device=points.device)
    y, x = ((points + 0.5) / size).unbind(-1)
    return torch.stack([(x + int(second)) / 2, y], dim=-1)


def from_canvas(points: Tensor, shape: Sequence[int], second: bool) -> Tensor:
    """Inverse of ``to_canvas``; an answer in the wrong half lies outside of the image."""
    size = torch.tensor([shape[0], shape[1]], dtype=points.dtype, device=points.device)
    x, y = points.unbind(-1)
    return torch.stack([y, 2 * x - int(second)], dim=-1) * size - 0.5


def position_code(points: Tensor, bands: int) -> Tensor:
    """Sine and cosine of the first ``bands`` multiples of pi times the coordinates: (..., 2) -> (..., 4 * bands)."""
    multiples = torch.arange(1, bands + 1, dtype=points.dtype, device=points.device)
    phase = (torch.pi * multiples[:, None] * points[..., None, :]).flatten(-2)
    return torch.cat([phase.sin(), phase.cos()], dim=-1)


def check_width(width: int, heads: int) -> None:
    """Raise ``InputError`` unless a transformer's width goes by 4, for the position code, and by its heads."""
    if width % 4 or width % heads:
        raise InputError(f"the width of COTR is a multiple of 4 and of its {heads} heads, got {width}")


def check_canvas(image: Tensor, stride: int) -> None:
    """Raise ``InputError`` unless ``image`` is (B, 2, S, S), S a multiple of ``stride``."""
    if image.dim() != 4 or image.shape[1] != 2 or image.shape[2] != image.shape[3] or image.shape[2] % stride:
        raise InputError(
            f"COTR takes two square images (B, 2, S, S), S a multiple of {stride}; got {tuple(image.shape)}"
        )


def cell_centres(rows: int, columns: int, like: Tensor) -> Tensor:
    """(2, rows * columns, 2) x, y canvas fractions of the cells of the left and of the right image."""
    y, x = ((torch.arange(n, device=like.device, dtype=like.dtype) + 0.5) / n for n in (rows, columns))
    own = torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1).flatten(0, 1)
    half = own * own.new_tensor([0.5, 1.0])
    return torch.stack([half, half + half.new_tensor([0.5, 0.0])])


class FeedForward(nn.Module):
    """Two linear layers with their residual and normalisation; the names are those of the published file."""

    def __init__(self, width: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.linear1 = nn.Linear(width, hidden)
        self.linear2 = nn.Linear(hidden, width)
        self.dropout = nn.Dropout(dropout)

    def change(self, x: Tensor) -> Tensor:
        """(B, N, width) -> what is added to it."""
        change: Tensor = self.dropout(self.linear2(self.dropout(self.linear1(x).relu())))
        return change


class EncoderLayer(FeedForward):
    """Self-attention among the cells of the canvas; positions enter the comparison, and the content if ``placed``."""

    def __init__(self, width: int, heads: int, hidden: int, dropout: float, placed: bool) -> None:
        super().__init__(width, hidden, dropout)
        self.placed = placed
        self.self_attn = nn.MultiheadAttention(width, heads, dropout=dropout, batch_first=True)
        self.norm1 = nn.LayerNorm(width)
        self.norm2 = nn.LayerNorm(width)

    def forward(self, x: Tensor, code: Tensor) -> Tensor:
        """(B, N, width) cells and their position codes (1, N, width) -> (B, N, width)."""
        keys = x + code
        values = keys if self.placed else x
        x = self.norm1(x + self.dropout(self.self_attn(keys, keys, values, need_weights=False)[0]))
        result: Tensor = self.norm2(x + self.change(x))
        return result


class DecoderLayer(FeedForward):
    """Queries look at the cells, never at each other: any number may be asked at once."""

    def __init__(self, width: int, heads: int, hidden: int, dropout: float, placed: bool) -> None:
        super().__init__(width, hidden, dropout)
        self.placed = placed
        self.multihead_attn = nn.MultiheadAttention(width, heads, dropout=dropout, batch_first=True)
        self.norm2 = nn.LayerNorm(width)
        self.norm3 = nn.LayerNorm(width)

    def forward(self, x: Tensor, query: Tensor, cells: Tensor, code: Tensor) -> Tensor:
        """(B, Q, width) answers so far, codes of the queries, and the cells with their codes -> (B, Q, width)."""
        keys = cells + code
        values = keys if self.placed else cells
        x = self.norm2(x + self.dropout(self.multihead_attn(x + query, keys, values, need_weights=False)[0]))
        result: Tensor = self.norm3(x + self.change(x))
        return result


class COTR(nn.Module):
    """Answers queried points of an image pair, in either direction.

    Args:
        width: of the transformer, a multiple of 4 and of ``heads``.
        heads: of its attention.
        layers: of encoder and of decoder, each.
        hidden: of the layers between.
        dropout: in both.
        block: "bottleneck" or "basic", of the residual backbone.
        blocks: at strides 4, 8 and 16; without the third the cells are finer.
        channels: of those, before a bottleneck's widening.
        placed: what attention collects holds positions too. The published network has them in the comparison alone and
            learns to answer with a position over millions of steps.
        normalisation: of the backbone, as MONAI names it. Batch normalisation keeps its stored statistics in training.

    The defaults are the published network's.

    Raises:
        InputError: ``width`` does not go by 4 or by ``heads``.
    """

    def __init__(
        self,
        width: int = 256,
        heads: int = 8,
        layers: int = 6,
        hidden: int = 1024,
        dropout: float = 0.1,
        block: str = "bottleneck",
        blocks: Sequence[int] = (3, 4, 6),
        channels: Sequence[int] = (64, 128, 256),
        normalisation: str | tuple[str, Mapping[str, int]] = "batch",
        placed: bool = False,
    ) -> None:
        super().__init__()
        check_width(width, heads)
        self.width = width
        self.stride = 2 ** (1 + len(blocks))
        self.backbone = _backbone(block, blocks, channels, normalisation)
        widening = ResNetBottleneck.expansion if block == "bottleneck" else ResNetBlock.expansion
        self.input_proj = nn.Conv2d(channels[-1] * widening, width, 1)
        self.encoder = nn.ModuleList(EncoderLayer(width, heads, hidden, dropout, placed) for _ in range(layers))
        self.decoder = nn.ModuleList(DecoderLayer(width, heads, hidden, dropout, placed) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.head = nn.ModuleList(nn.Linear(width, out) for out in (width, width, 2))
        for part in (self.encoder, self.decoder):
            for weight in part.parameters():
                if weight.dim() > 1:
                    nn.init.xavier_uniform_(weight)

    def train(self, mode: bool = True) -> COTR:
        """Batch normalisation stays as it is stored: pairs are few and look alike."""
        super().train(mode)
        for module in self.backbone.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()
        return self

    def encode(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """What ``decode`` needs of a pair.

        Args:
            image: (B, 2, S, S) grey in [0, 1], the canvas' left and right image; S a multiple of the stride.

        Returns:
            Cells (B, N, width) and their position codes (1, N, width).

        Raises:
            InputError: there are not two images, or they are no square of such a side.
        """
        check_canvas(image, self.stride)
        # each image by itself: what one shows must not leak into the other's features over the seam
        left, right = (self._maps(image[:, side : side + 1]) for side in (0, 1))
        cells = self.input_proj(torch.cat([left, right], dim=3))
        rows, columns = cells.shape[2:]
        centres = torch.cat(list(cell_centres(rows, columns // 2, image).unflatten(1, (rows, columns // 2))), dim=1)
        code = position_code(centres.flatten(0, 1), self.bands)[None]
        found = cells.flatten(2).transpose(1, 2)
        for layer in self.encoder:
            found = layer(found, code)
        return found, code

    def decode(self, cells: Tensor, code: Tensor, queries: Tensor) -> Tensor:
        """(B, Q, 2) points x, y of the canvas -> (B, Q, 2) points of its other half."""
        query = position_code(queries, self.bands)
        x = torch.zeros_like(query)
        for layer in self.decoder:
            x = layer(x, query, cells, code)
        x = self.norm(x)
        for linear in list(self.head)[:-1]:
            x = linear(x).relu()
        answer: Tensor = self.head[-1](x)
        return answer

    def forward(self, image: Tensor, queries: Tensor) -> Tensor:
        """See ``encode`` and ``decode``."""
        return self.decode(*self.encode(image), queries)

    @property
    def bands(self) -> int:
        """Frequencies of the position code."""
        return self.width // 4

    def _maps(self, grey: Tensor) -> Tensor:
        """(B, 1, S, S) -> (B, C, S / stride, S / stride)."""
        mean, deviation = (grey.new_tensor(values)[:, None, None] for values in (MEAN, DEVIATION))
        maps: Tensor = self.backbone((grey - mean) / deviation)
        return maps


class CycleCOTR(nn.Module):
    """COTR's answers, and its answers to them, which should be the queries again.

    Args:
        network: asked, with the ``encode`` and ``decode`` of ``COTR``.
    """

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor, queries: Tensor) -> Tensor:
        """(B, 2, S, S) and (B, Q, 2) -> (B, Q, 4): the answers, then the answers to those."""
        memory = self.network.encode(image)
        answers = self.network.decode(*memory, queries)
        return torch.cat([answers, self.network.decode(*memory, answers)], dim=-1)


def _backbone(
    block: str, blocks: Sequence[int], channels: Sequence[int], normalisation: str | tuple[str, Mapping[str, int]]
) -> nn.Sequential:
    """The stages of a residual network that are asked for; layers are named as in torchvision."""
    left = 4 - len(blocks)  # MONAI's has four stages; the others are made as small as they can be and left out
    network = ResNet(
        block,
        [*blocks, *[1] * left],
        [*channels, *[1] * left],
        spatial_dims=2,
        conv1_t_stride=2,
        feed_forward=False,
        bias_downsample=False,
        norm=normalisation,
    )
    stages = [f"layer{number + 1}" for number in range(len(blocks))]
    result = nn.Sequential()
    for name in ("conv1", "bn1", "act", "maxpool", *stages):
        result.add_module(name, getattr(network, name))
    return result


def published_state(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Keys of the authors' checkpoint -> those of ``COTR``; what is never used there, such as a norm, is left out."""
    found = {}
    for key, value in state.items():
        for old, new in (
            ("backbone.0.body.", "backbone."),
            ("transformer.encoder.layers.", "encoder."),
            ("transformer.decoder.layers.", "decoder."),
            ("transformer.decoder.norm.", "norm."),
            ("corr_embed.layers.", "head."),
            ("input_proj.", "input_proj."),
        ):
            if key.startswith(old):
                found[new + key.removeprefix(old)] = value
    return found
