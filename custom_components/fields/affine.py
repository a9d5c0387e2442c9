"""Affine maps as fields."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from custom_components.fields.precision import in_double
from custom_components.fields.sampling import identity_grid

VOXELS_AT_ONCE = 2**20  # an affine is applied in double precision, so to a slab of rows at a time


def affine_to_ddf(
    matrix: npt.NDArray[np.float64] | Tensor, spatial: Sequence[int], dtype: torch.dtype = torch.float32
) -> Tensor:
    """(1, D, *spatial) field of ``x -> A x + t``.

    Args:
        matrix: (D, D+1) or (D+1, D+1), array-axis order, voxels, fixed -> moving.
        spatial: size of the grid.
        dtype: of the result.
    """
    return compose_affine(matrix, torch.zeros(1, len(spatial), *spatial, dtype=dtype))


def nonrigid_part(matrix: npt.NDArray[np.float64] | Tensor, ddf: Tensor) -> Tensor:
    """The residual r with ``ddf == compose_affine(matrix, r)``: what a field does beyond an affine.

    Args:
        matrix: (D, D+1) or (D+1, D+1), invertible, array-axis order, voxels, fixed -> moving.
        ddf: (B, D, *spatial), voxels, fixed -> moving.

    Returns:
        (B, D, *spatial), voxels; ``ddf`` itself where the affine is the identity.
    """
    affine = _affine(matrix, ddf)
    back = torch.linalg.inv(affine[:, :-1])
    return compose_affine(torch.cat([back, -back @ affine[:, -1:]], dim=1), ddf)


def compose_affine(matrix: npt.NDArray[np.float64] | Tensor, residual: Tensor) -> Tensor:
    """``compose(affine_to_ddf(matrix), residual)``, but exact where the residual leaves the grid.

    A sampled affine field can only be continued by its border value there, which folds a rotation over.

    Args:
        matrix: (D, D+1) or (D+1, D+1), array-axis order, voxels, fixed -> moving; applied to the image first.
        residual: (B, D, *spatial), voxels.

    Returns:
        (B, D, *spatial), voxels, fixed -> moving; ``residual`` itself where the affine is the identity.
    """
    affine = _affine(matrix, residual)
    if not affine.requires_grad and torch.equal(affine, torch.eye(*affine.shape).to(affine)):
        return residual
    result = torch.empty_like(residual)
    rows = max(VOXELS_AT_ONCE // prod(residual.shape[3:]), 1)
    for first in range(0, residual.shape[2], rows):
        slab = in_double(residual[:, :, first : first + rows])
        grid = identity_grid(slab.shape[2:], slab.device, torch.float64)
        grid[0] += first
        affine = affine.to(slab.device)
        shift = affine[:, -1].view(-1, *(1,) * len(affine))
        moved = torch.einsum("ij,bj...->bi...", affine[:, :-1], grid + slab) + shift
        result[:, :, first : first + rows] = (moved - grid).to(result)
    return result


def _affine(matrix: npt.NDArray[np.float64] | Tensor, field: Tensor) -> Tensor:
    """(D, D+1), float64, linear part and shift, of a matrix for ``field`` (B, D, *spatial)."""
    exact = in_double(matrix) if isinstance(matrix, Tensor) else torch.as_tensor(matrix, dtype=torch.float64)
    return exact[: field.ndim - 2]
