"""SuperPoint's network, and what turns its output into keypoints and descriptors."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from custom_components.common.errors import InputError
from custom_components.fields import sample

STRIDE = 8  # pixels a side of a cell, which has one descriptor and at most a few points
# Channels in and out of every convolution: an encoder of four pairs, a detector P and a descriptor D.
CHANNELS = {
    "1a": (1, 64), "1b": (64, 64), "2a": (64, 64), "2b": (64, 64),
    "3a": (64, 128), "3b": (128, 128), "4a": (128, 128), "4b": (128, 128),
    "Pa": (128, 256), "Pb": (256, STRIDE**2 + 1), "Da": (128, 256), "Db": (256, 256),
}  # fmt: skip
OUTPUTS = ("Pb", "Db")  # of kernel 1 and without ReLU


class SuperPoint(nn.Module):
    """The dense part of SuperPoint: an encoder of stride 8 with a head that detects and one that describes.

    Source: DeTone et al., "SuperPoint: Self-Supervised Interest Point Detection and Description", CVPR Workshops 2018.
    Parameters are named as in its published file (``conv1a``, ..., ``convDb``).

    Args:
        norm: with batch normalisation after every ReLU, and at the outputs in its place, as in the open
            re-implementation SuperPoint-open by Pautrat and Sarlin. Its parameters are called ``bn1a``, ..., ``bnDb``.

    Examples:
        >>> [tuple(output.shape) for output in SuperPoint()(torch.rand(1, 1, 16, 24))]
        [(1, 65, 2, 3), (1, 256, 2, 3)]
    """

    def __init__(self, norm: bool = False) -> None:
        super().__init__()
        self.norm = norm
        for name, (inputs, outputs) in CHANNELS.items():
            size = 1 if name in OUTPUTS else 3
            self.add_module(f"conv{name}", nn.Conv2d(inputs, outputs, size, padding=size // 2))
            if norm:
                self.add_module(f"bn{name}", nn.BatchNorm2d(outputs, eps=1e-3))

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """What is seen in every cell of 8 x 8 pixels.

        Args:
            image: (B, 1, H, W), grey in [0, 1].

        Returns:
            logits (B, 65, H / 8, W / 8), of a point at each pixel of the cell, row by row, and last of none;
            descriptors (B, 256, H / 8, W / 8) of unit length.

        Raises:
            InputError: a side is not a multiple of 8.
        """
        if min(image.shape[2:]) < STRIDE or any(side % STRIDE for side in image.shape[2:]):
            raise InputError(f"SuperPoint needs sides that are multiples of {STRIDE}, got {tuple(image.shape)}: pad it")
        x = image
        for stage in "1234":
            if stage != "1":
                x = F.max_pool2d(x, 2)
            x = self._layer(f"{stage}b", self._layer(f"{stage}a", x))
        logits, descriptors = (self._layer(f"{head}b", self._layer(f"{head}a", x)) for head in "PD")
        return logits, F.normalize(descriptors, dim=1)

    def _layer(self, name: str, x: Tensor) -> Tensor:
        x = self.get_submodule(f"conv{name}")(x)
        if name not in OUTPUTS:
            x = F.relu(x)
        if self.norm:
            x = self.get_submodule(f"bn{name}")(x)
        return x


def point_scores(logits: Tensor) -> Tensor:
    """Probability of a point at every pixel.

    Args:
        logits: (B, 65, h, w) of ``SuperPoint``.

    Returns:
        (B, 1, 8 h, 8 w); those of a cell and "none", which is left out, sum to 1.
    """
    return F.pixel_shuffle(logits.softmax(dim=1)[:, :-1], STRIDE)


def local_maxima(scores: Tensor, radius: int = 4, passes: int = 2) -> Tensor:
    """Scores where none nearby is higher, 0 elsewhere.

    The first maxima silence their surroundings; every further pass finds the maxima of what is left. A point that only
    silenced points exceed is found so, as if all were visited from the highest down.

    Args:
        scores: (B, 1, H, W), 0 or more.
        radius: pixels along rows and columns within which the highest wins.
        passes: after the first.

    Returns:
        (B, 1, H, W).
    """

    def highest(x: Tensor) -> Tensor:
        return F.max_pool2d(x, 2 * radius + 1, stride=1, padding=radius)

    kept = scores == highest(scores)
    for _ in range(passes):
        silent = highest(kept.to(scores.dtype)) > 0
        rest = scores.masked_fill(silent, 0)
        kept |= (rest == highest(rest)) & ~silent
    return scores.masked_fill(~kept, 0)


def without_border(scores: Tensor, width: int = 4) -> Tensor:
    """Scores (B, 1, H, W) with 0 in the ``width`` outermost rows and columns, where the network sees its padding."""
    height, length = scores.shape[2:]
    inner = torch.zeros_like(scores, dtype=torch.bool)
    inner[..., width : max(height - width, 0), width : max(length - width, 0)] = True
    return scores.masked_fill(~inner, 0)


def sample_descriptors(descriptors: Tensor, points: Tensor) -> Tensor:
    """Descriptors at points, between those of the cells.

    Args:
        descriptors: (B, C, h, w), one for each cell of 8 x 8 pixels.
        points: (B, N, 2) row, col pixels.

    Returns:
        (B, N, C) of unit length.
    """
    # pixel centre i lies at (i + 0.5) / 8 - 0.5 of the map of cells
    places = (points + 0.5) / STRIDE - 0.5
    found = sample(descriptors, places.transpose(1, 2)[..., None])[..., 0]
    return F.normalize(found.transpose(1, 2), dim=2)
