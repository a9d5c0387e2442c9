"""Normalised gradient fields."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from custom_components.losses.masking import check_shapes, weighted_mean

SMALLEST_EDGE = 1e-4  # grey values a voxel; keeps the gradient of a flat image finite


def normalised_gradient(
    image: Tensor, edge: float | None = None, noise: float = 1.0, mask: Tensor | None = None
) -> Tensor:
    """``grad I / sqrt(|grad I|^2 + edge^2)``: direction of the edges, short where the image is flat.

    Args:
        image: (B, 1, *spatial).
        edge: grey values a voxel from which on a slope is an edge; None takes ``noise`` times the mean slope of each
            image, as if a constant.
        noise: factor on the mean slope.
        mask: (B, 1, *spatial), weights in 0..1 of the mean slope.

    Returns:
        (B, D, *spatial), array-axis order.
    """
    axes = tuple(range(2, image.ndim))
    gradient = torch.cat(torch.gradient(image, dim=axes), dim=1)
    squared = gradient.square().sum(1, keepdim=True)
    if edge is None:
        slope = squared.detach().sqrt()
        weight = torch.ones_like(slope) if mask is None else mask
        total = weight.sum(axes, keepdim=True)
        floor = noise * (slope * weight).sum(axes, keepdim=True) / total.where(total > 0, 1.0)
    else:
        floor = torch.full_like(squared, edge)
    return gradient / (squared + floor.clamp(min=SMALLEST_EDGE).square()).sqrt()


class NGFLoss(nn.Module):
    """Mean of ``1 - <n(warped), n(fixed)>^2``, the squared sine between edges; inverted contrast is as good.

    0 only where edges far above the edge parameter are parallel; where either image is flat the loss is 1, whatever
    the field. Source: Haber & Modersitzki, "Intensity Gradient Based Registration and Fusion of Multi-modal Images",
    MICCAI 2006, whose edge parameter is the noise level times the mean slope.

    Args:
        edge: see ``normalised_gradient``.
        noise: see ``normalised_gradient``.
    """

    def __init__(self, edge: float | None = None, noise: float = 1.0) -> None:
        super().__init__()
        self.edge = edge
        self.noise = noise

    def forward(self, warped: Tensor, fixed: Tensor, mask: Tensor | None = None) -> Tensor:
        """Scalar.

        Args:
            warped: (B, 1, *spatial), 2 voxels a side or more.
            fixed: (B, 1, *spatial).
            mask: (B, 1, *spatial), weights in 0..1.
        """
        check_shapes(warped, fixed, mask)
        first, second = (normalised_gradient(image, self.edge, self.noise, mask) for image in (warped, fixed))
        return weighted_mean(1 - (first * second).sum(1, keepdim=True).square(), mask)
