"""Reads from local costs where a place belongs, learned from landmarks of differently stained sections."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from custom_components.common.weights import for_inference

MEASURES = ("luminance", "deviation", "self-similarity")  # that images are compared by
POOLED = 6  # numbers that a channel of a level has in the context
LEAST_SPREAD = 0.05  # voxels


@dataclass(frozen=True)
class Level:
    """A grid that displacements are tried on.

    Attributes:
        factor: its spacing, voxels of the finest grid.
        reach: largest displacement along an axis, its voxels.
        windows: sigmas, its voxels.
    """

    factor: int
    reach: int
    windows: tuple[float, ...]

    @property
    def offsets(self) -> Tensor:
        """(K * K, 2) row, col of the displacements, voxels of the finest grid."""
        steps = torch.arange(-self.reach, self.reach + 1, dtype=torch.float32) * self.factor
        return torch.stack(torch.meshgrid(steps, steps, indexing="ij"), dim=-1).flatten(0, 1)


LEVELS = (Level(1, 4, (4, 8, 16)), Level(2, 5, (4, 8, 14)), Level(4, 6, (3, 6, 12)))
CHANNELS = len(MEASURES) * len(LEVELS[0].windows)  # of a level, from the images
PLANES = CHANNELS + 2  # and from the votes


class DisplacementDecoder(nn.Module):
    """Displacement of a place, and how sure it is, from costs and votes about it and from their means over all places.

    Which measure to believe depends on the stains: the means over the tissue show it, since a measure that works for a
    pair has a peak there. Each level's planes go through two convolutions over the displacements; what they hold, level
    by level, is known to all levels. One softmax over the displacements of all levels weighs them.

    Args:
        hidden: channels of the convolutions.
        context: units that all levels share.
        dropout: of them, in training.
    """

    def __init__(self, hidden: int = 24, context: int = 32, dropout: float = 0.2) -> None:
        super().__init__()
        count = len(LEVELS)
        self.offsets: Tensor
        self.scale: Tensor
        self.register_buffer("offsets", torch.cat([level.offsets for level in LEVELS]), persistent=False)
        self.register_buffer("scale", torch.ones(count, PLANES))
        self.first = nn.ModuleList(nn.Conv2d(2 * PLANES + 3, hidden, 3, padding=1) for _ in LEVELS)
        self.second = nn.ModuleList(nn.Conv2d(hidden, hidden, 3, padding=1) for _ in LEVELS)
        self.last = nn.ModuleList(nn.Conv2d(hidden, 1, 1) for _ in LEVELS)
        self.context = nn.Sequential(
            nn.Linear(count * PLANES * POOLED, context), nn.ReLU(), nn.Dropout(dropout),
            nn.Linear(context, count * hidden + context),
        )  # fmt: skip
        self.sure = nn.Sequential(nn.Linear(context + count * hidden + 2, 32), nn.ReLU(), nn.Linear(32, 1))
        self.hidden = hidden

    @classmethod
    def read(cls, file: str | Path) -> DisplacementDecoder:
        """From the state dict that ``benchmarks.displacement_decoder`` writes, for inference.

        Raises:
            InputError: the file is missing or holds another network.
        """
        return for_inference(cls(), file, "decoder")

    def standardise_by(self, costs: Sequence[Tensor]) -> None:
        """Take the usual range of each channel from one (N, C, K, K) a level."""
        self.scale.copy_(torch.stack([level.flatten(2).std(2).mean(0) for level in costs]))

    def forward(self, costs: Sequence[Tensor], means: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """At N places.

        Args:
            costs: one (N, C, K, K) a level, see ``LocalCosts``, and after these the planes of ``vote_planes``.
            means: the same, of the tissue of the pair.

        Returns:
            (N, 2) row, col and (N,) the scale of the Laplace distribution of what is left, voxels of the finest grid.
        """
        planes, pooled = [], []
        for level, here, mean, scale in zip(LEVELS, costs, means, self.scale, strict=True):
            usual = scale[None, :, None, None]
            centred, spread = _centred(here)
            typical, its_spread = _centred(mean)
            centred = centred / (0.5 * spread + 0.5 * usual)
            typical = typical / its_spread.clamp(min=1e-4)
            planes.append(torch.cat([centred, typical, _radii(level.reach, here)], dim=1))
            middle = level.reach
            pooled += [
                centred.amax((2, 3)), centred[:, :, middle, middle], torch.log(spread / usual + 0.05)[:, :, 0, 0],
                typical.amax((2, 3)), typical[:, :, middle, middle], torch.log(its_spread / usual + 0.05)[:, :, 0, 0],
            ]  # fmt: skip
        known = self.context(torch.cat(pooled, dim=1))
        shifts = known[:, : len(LEVELS) * self.hidden].unflatten(1, (len(LEVELS), self.hidden))
        scores, seen = [], [known[:, len(LEVELS) * self.hidden :]]
        layers = zip(planes, self.first, self.second, self.last, shifts.unbind(1), strict=True)
        for plane, first, second, last, shift in layers:
            features = F.relu(first(plane) + shift[:, :, None, None])
            features = features + F.relu(second(features))
            scores.append(last(features).flatten(1))
            seen.append(features.mean((2, 3)))
        share = torch.cat(scores, dim=1).softmax(1)
        displacement = share @ self.offsets
        variance = share @ self.offsets.square().sum(1) - displacement.square().sum(1)
        length, width = (torch.log(x + 0.1)[:, None] for x in (displacement.norm(dim=1), variance.clamp(min=0).sqrt()))
        spread = F.softplus(self.sure(torch.cat([*seen, length, width], dim=1).detach())[:, 0]) + LEAST_SPREAD
        return displacement, spread


def _centred(planes: Tensor) -> tuple[Tensor, Tensor]:
    """Planes less their mean, and their deviation (N, C, 1, 1)."""
    return planes - planes.mean((2, 3), keepdim=True), planes.std((2, 3), keepdim=True)


def _radii(reach: int, like: Tensor) -> Tensor:
    """(N, 3, K, K): length of the displacement as a share of the reach, its square, and where it is zero."""
    steps = torch.linspace(-1, 1, 2 * reach + 1, device=like.device, dtype=like.dtype)
    length = torch.hypot(steps[:, None], steps[None])
    maps = torch.stack([length, length.square(), (length < 1 / (2 * reach)).to(length)])
    return maps.expand(len(like), -1, -1, -1)
