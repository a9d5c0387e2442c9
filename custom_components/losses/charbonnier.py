"""Absolute differences, rounded off at zero: of grey values and edges, and of a field's neighbours."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from custom_components.common.errors import InputError
from custom_components.fields.compose import check_ddf
from custom_components.losses.masking import check_shapes, weighted_mean


def charbonnier(values: Tensor, epsilon: float) -> Tensor:
    """``sqrt(x^2 + epsilon^2) - epsilon``: 0 at 0, about ``|x|`` far from it."""
    return torch.sqrt(values.square() + epsilon**2) - epsilon


class CharbonnierLoss(nn.Module):
    """Mean of ``rho(W - F) + gradient_weight * rho(|grad W| - |grad F|)`` over voxels, rho as ``charbonnier``.

    0 is best. For images of one kind, whose grey values agree. Source: the thesis on joint saliency, global to local,
    which sums over voxels of 0..255: digits have no second term, cine frames of the heart a weight of 20.

    Args:
        gradient_weight: of the second term.
        epsilon: grey values, which span about 1.

    Raises:
        InputError: ``epsilon`` is not positive.
    """

    def __init__(self, gradient_weight: float = 0.0, epsilon: float = 1e-3) -> None:
        super().__init__()
        _check(epsilon)
        self.gradient_weight = gradient_weight
        self.epsilon = epsilon

    def forward(self, warped: Tensor, fixed: Tensor, mask: Tensor | None = None) -> Tensor:
        """Scalar.

        Args:
            warped: (B, 1, *spatial).
            fixed: the same.
            mask: (B, 1, *spatial), weights of the voxels; only their ratios count.

        Raises:
            InputError: the shapes are not these.
        """
        check_shapes(warped, fixed, mask)
        loss = charbonnier(warped - fixed, self.epsilon)
        if self.gradient_weight:
            edges = _steepness(warped, self.epsilon) - _steepness(fixed, self.epsilon)
            loss = loss + self.gradient_weight * charbonnier(edges, self.epsilon)
        return weighted_mean(loss, mask)


class FieldVariationLoss(nn.Module):
    """Mean of rho over a field's forward differences, components, axes and voxels: it lets a field bend at few places.

    Source: as ``CharbonnierLoss``; there it is a sum.

    Args:
        epsilon: voxels.

    Raises:
        InputError: ``epsilon`` is not positive.
    """

    def __init__(self, epsilon: float = 1e-3) -> None:
        super().__init__()
        _check(epsilon)
        self.epsilon = epsilon

    def forward(self, ddf: Tensor) -> Tensor:
        """Scalar, voxels a voxel, of ``ddf`` (B, D, *spatial) in voxels."""
        dimensions = check_ddf(ddf)
        steps = [charbonnier(ddf.diff(dim=axis), self.epsilon).mean() for axis in range(2, 2 + dimensions)]
        return torch.stack(steps).mean()


def _check(epsilon: float) -> None:
    if not epsilon > 0:
        raise InputError(f"epsilon is positive, or the gradient at 0 would not be finite; got {epsilon}")


def _steepness(image: Tensor, epsilon: float) -> Tensor:
    """Length of the gradient by forward differences, which are 0 in the last row of each axis."""
    squares = torch.zeros_like(image)
    for axis in range(2, image.ndim):
        last = image.narrow(axis, -1, 1)
        squares = squares + image.diff(dim=axis, append=last).square()
    return torch.sqrt(squares + epsilon**2)
