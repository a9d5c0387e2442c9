"""Joint saliency of two images: high where both show the same salient structure, low where one has nothing like it."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from custom_components.common.errors import InputError

RADIUS = 4.0  # standard deviations that the Gaussian reaches


class JointSaliency(nn.Module):
    """``min(N(s_f), N(s_w)) / (1 + N(d))`` of a fixed and a warped image.

    T is the structure tensor of an image, s the mean distance of T from its neighbours' (8 or 26), d the distance of
    both images' tensors at a voxel, and N stretches to 0..1 over the voxels of an image. There are no convolutions,
    so automatic mixed precision leaves the square roots of small numbers in single precision.

    Source: the joint saliency map of Qin et al., IEEE Signal Processing Letters 2010, in the form of the thesis with a
    global-to-local network and its public code, with these differences unless ``literal``: both saliencies are
    stretched before they are compared, each image for itself and without a gradient through the least and the greatest
    value; the last stretching is left out, so that 1 means as salient as anything in both.

    Args:
        sigma: standard deviation of the Gaussian over the structure tensor, voxels; 1 suits images of 128 voxels.
        reference_implementation: the form of the public code: extrema over the whole batch and with gradients, divided
            by the greatest
            value alone, saliencies stretched only after they were compared.

    Raises:
        InputError: ``sigma`` is not positive.

    Examples:
        >>> JointSaliency()(torch.rand(1, 1, 30, 40), torch.rand(1, 1, 30, 40)).shape
        torch.Size([1, 1, 30, 40])
    """

    def __init__(self, sigma: float = 1.0, reference_implementation: bool = False) -> None:
        super().__init__()
        if not sigma > 0:
            raise InputError(f"sigma is a positive number of voxels, got {sigma}")
        self.reference_implementation = reference_implementation
        self.taps = _gaussian(sigma)

    def forward(self, fixed: Tensor, warped: Tensor) -> Tensor:
        """(B, 1, *spatial) in 0..1, of two images (B, 1, *spatial) in 0..1; 0 where one is constant, if not literal."""
        first, second = self.tensors(fixed), self.tensors(warped)
        difference = self.stretched(distance(first, second))
        if self.reference_implementation:
            return self.stretched(torch.minimum(saliency(first), saliency(second)) / (1 + difference))
        least = torch.minimum(self.stretched(saliency(first)), self.stretched(saliency(second)))
        return least / (1 + difference)

    def tensors(self, image: Tensor) -> Tensor:
        """Structure tensor: (B, D (D + 1) / 2, *spatial), its upper triangle row by row; zeros beyond the border."""
        image = image.float()
        dimensions = image.dim() - 2
        gradients = [_forward_difference(image, axis + 2) for axis in range(dimensions)]
        entries: list[Tensor] = []
        for row in range(dimensions):
            entries += [gradients[row] * gradients[column] for column in range(row, dimensions)]
        tensor = torch.cat(entries, dim=1)
        for axis in range(2, image.dim()):
            tensor = _filtered(tensor, self.taps, axis)
        return tensor

    def stretched(self, values: Tensor) -> Tensor:
        """N: from (B, 1, *spatial) to 0..1."""
        if self.reference_implementation:
            return (values - values.amin()) / values.amax()
        flat = values.detach().flatten(1)
        shape = [-1] + [1] * (values.dim() - 1)
        least, greatest = flat.amin(1).view(shape), flat.amax(1).view(shape)
        return (values - least) / (greatest - least + 1e-6)


def distance(first: Tensor, second: Tensor, floor: float = 1e-9) -> Tensor:
    """(B, 1, *spatial): ``sqrt(8 pi / 15 (|D|^2 - tr(D)^2 / 3))`` of the difference D of two tensors.

    Args:
        first: (B, D (D + 1) / 2, *spatial), upper triangles.
        second: the same.
        floor: under the square root, so that its gradient stays finite where tensors are equal.
    """
    difference = first - second
    dimensions = 2 if difference.size(1) == 3 else 3
    square = torch.zeros_like(difference[:, :1])
    trace = torch.zeros_like(square)
    index = 0
    for row in range(dimensions):
        for column in range(row, dimensions):
            entry = difference[:, index : index + 1]
            if row == column:
                square = square + entry.square()
                trace = trace + entry
            else:
                square = square + 2 * entry.square()
            index += 1
    return torch.sqrt((8 * math.pi / 15 * (square - trace.square() / 3)).clamp(min=0.0) + floor)


def saliency(tensors: Tensor) -> Tensor:
    """(B, 1, *spatial): mean distance from the neighbours, which the border repeats; the voxel itself counts as one.

    Args:
        tensors: (B, D (D + 1) / 2, *spatial).
    """
    dimensions = tensors.dim() - 2
    padded = F.pad(tensors, [1, 1] * dimensions, mode="replicate")
    total = torch.zeros_like(tensors[:, :1])
    count = int(3**dimensions)
    for neighbour in range(count):
        if neighbour != count // 2:
            shifted = padded
            rest = neighbour
            for axis in range(dimensions):
                shifted = shifted.narrow(axis + 2, rest % 3, tensors.size(axis + 2))
                rest = rest // 3
            total = total + distance(tensors, shifted)
    return total / count


def _gaussian(sigma: float) -> list[float]:
    radius = max(int(RADIUS * sigma + 0.5), 1)
    weights = [math.exp(-0.5 * (offset / sigma) ** 2) for offset in range(-radius, radius + 1)]
    return [weight / sum(weights) for weight in weights]


def _forward_difference(image: Tensor, axis: int) -> Tensor:
    """``image(x + 1) - image(x)`` along an axis; 0 in the last row."""
    size = image.size(axis)
    last = torch.zeros_like(image.narrow(axis, 0, 1))
    if size == 1:
        return last
    return torch.cat([image.narrow(axis, 1, size - 1) - image.narrow(axis, 0, size - 1), last], dim=axis)


def _filtered(values: Tensor, taps: list[float], axis: int) -> Tensor:
    """Correlation with ``taps`` along an axis, zeros beyond the border."""
    radius = len(taps) // 2
    pads = [0] * (2 * (values.dim() - 2))
    place = 2 * (values.dim() - 1 - axis)  # F.pad takes the last axis first
    pads[place] = radius
    pads[place + 1] = radius
    padded = F.pad(values, pads)
    result = torch.zeros_like(values)
    for index in range(len(taps)):
        result = result + taps[index] * padded.narrow(axis, index, values.size(axis))
    return result
