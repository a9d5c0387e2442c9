"""Dense SIFT: the gradient-histogram descriptor of the surroundings of every voxel."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from custom_components.common.errors import InputError
from custom_components.fields import smooth

CELLS = 4  # a side of the descriptor
FLAT = 1e-10  # grey values a voxel; the square of a smaller slope is lost in float32
CLIP = 0.2  # of a normalised descriptor, so that no single edge outweighs the rest


def orientation_maps(image: Tensor, bins: int = 8) -> Tensor:
    """Length of the gradient, shared linearly between the two nearest of ``bins`` directions.

    Args:
        image: (B, 1, H, W), 2 voxels a side or more.
        bins: directions, 2 or more; bin k is the angle ``2 pi k / bins`` from the column axis towards the row axis.

    Returns:
        (B, bins, H, W), grey values a voxel; the sum over the bins is the length of the gradient.
    """
    down, right = torch.gradient(image, dim=(2, 3))
    sloped = down.square() + right.square() > FLAT**2
    # neither the angle nor the root has a derivative at 0
    right = torch.where(sloped, right, 1.0)
    length = torch.where(sloped, (down.square() + right.square()).sqrt(), 0.0)
    angle = torch.atan2(down, right) * (bins / (2 * math.pi))  # in bins, within half a turn either way
    centres = torch.arange(bins, device=image.device, dtype=image.dtype).view(1, -1, 1, 1)
    distance = torch.remainder(angle - centres + bins / 2, bins) - bins / 2
    return length * (1 - distance.abs()).clamp(min=0)


def cell_weights(cell: float, dtype: torch.dtype = torch.float32) -> Tensor:
    """(4, 2 R + 1) weights of the steps -R..R along one axis in each of the cells, which lie ``cell`` voxels apart.

    Triangles about the cells' centres at -1.5, -0.5, 0.5 and 1.5 ``cell``, down to 0 at the neighbours' centres.
    """
    reach = math.ceil((CELLS + 1) / 2 * cell)
    steps = torch.arange(-reach, reach + 1, dtype=dtype)
    centres = (torch.arange(CELLS, dtype=dtype) - (CELLS - 1) / 2) * cell
    return (1 - (steps - centres[:, None]).abs() / cell).clamp(min=0) / cell


def normalise(descriptors: Tensor, minimum: float = 0.0) -> Tensor:
    """(B, C, ...) -> the same with length 1 over the channels; zeros where the length is not above ``minimum``."""
    squared = descriptors.square().sum(1, keepdim=True)
    long = squared > minimum**2
    # replaced before the division, else its gradient would be NaN
    return torch.where(long, descriptors, 0.0) / torch.where(long, squared, 1.0).sqrt()


def dense_sift(
    image: Tensor, cell: float = 3, bins: int = 8, step: int = 1, sigma: float = 1.0, minimum_slope: float = 1e-5
) -> Tensor:
    """SIFT descriptors, upright and of one size, at every ``step``-th voxel; differentiable.

    Gaussian smoothing, gradient, histograms of its direction in 4x4 cells about the voxel with linear interpolation
    between directions and cells, normalised, clipped at 0.2 and normalised again. Unchanged by brightness and contrast,
    but not by inversion. Beyond the border there is no gradient.

    Source: Lowe, "Distinctive Image Features from Scale-Invariant Keypoints", IJCV 2004, section 6, without its
    Gaussian window; on a grid as in Liu et al., "SIFT Flow", TPAMI 2011, whose sizes are the defaults.

    Args:
        image: (B, 1, H, W), grey values that span about 1.
        cell: distance of the cells, voxels; the descriptor sees 5 of them a side.
        bins: directions, 2 or more.
        step: voxels between descriptors.
        sigma: of the smoothing, voxels.
        minimum_slope: grey values a voxel; a descriptor of less is that of a flat image, zeros.

    Returns:
        (B, 16 * bins, ceil(H / step), ceil(W / step)), voxel (i, j) at ``(step * i, step * j)`` of the image; channel
        ``(bin * 4 + row) * 4 + column`` of the cells.

    Raises:
        InputError: the image has another shape or is below 2 voxels a side, or an argument is out of range.
    """
    if image.ndim != 4 or image.shape[1] != 1 or min(image.shape[2:]) < 2:
        raise InputError(f"dense SIFT takes (B, 1, H, W) with 2 voxels a side or more, got {tuple(image.shape)}")
    if not (cell > 0 and bins > 1 and step > 0 and sigma >= 0):
        raise InputError(
            f"cell and step are positive, bins at least 2 and sigma at least 0, got cell {cell}, bins {bins}, step "
            f"{step}, sigma {sigma}"
        )
    maps = orientation_maps(smooth(image, sigma), bins)
    weights = cell_weights(cell, image.dtype).to(image.device)
    reach = weights.shape[1] // 2
    batch, _, height, width = maps.shape
    maps = maps.reshape(batch * bins, 1, height, width)
    rows = F.conv2d(maps, weights.view(CELLS, 1, -1, 1), stride=(step, 1), padding=(reach, 0))
    rows = rows.reshape(batch * bins * CELLS, 1, -1, width)
    histograms = F.conv2d(rows, weights.view(CELLS, 1, 1, -1), stride=(1, step), padding=(0, reach))
    histograms = histograms.reshape(batch, bins * CELLS**2, *histograms.shape[2:])
    return normalise(normalise(histograms, minimum_slope).clamp(max=CLIP))


class DenseSIFT(nn.Module):
    """``dense_sift`` at one or several scales, one after another over the channels.

    Source: Ge et al., SFG, has three scales of one image. Difference: it resizes the image, here cells and smoothing
    are.

    Args:
        cell: see ``dense_sift``.
        bins: see ``dense_sift``.
        step: see ``dense_sift``.
        sigma: see ``dense_sift``.
        scales: factors on ``cell`` and ``sigma``; 2 describes what an image of half the size would show.

    Raises:
        InputError: there is no scale, or one is not positive.
    """

    def __init__(
        self, cell: float = 3, bins: int = 8, step: int = 1, sigma: float = 1.0, scales: Sequence[float] = (1.0,)
    ) -> None:
        super().__init__()
        if len(scales) == 0 or min(scales) <= 0:
            raise InputError(f"scales are positive factors, one at least, got {tuple(scales)}")
        self.cell = cell
        self.bins = bins
        self.step = step
        self.sigma = sigma
        self.scales = tuple(scales)

    def forward(self, image: Tensor) -> Tensor:
        """Descriptors of length 1 a scale.

        Args:
            image: (B, 1, H, W), grey values that span about 1.

        Returns:
            (B, scales * 16 * bins, ceil(H / step), ceil(W / step)), see ``dense_sift``.
        """
        return torch.cat(
            [dense_sift(image, self.cell * scale, self.bins, self.step, self.sigma * scale) for scale in self.scales],
            dim=1,
        )
