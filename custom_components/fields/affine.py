"""Affine maps as fields."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from custom_components.fields.grid import identity_grid


def affine_to_ddf(
    matrix: npt.NDArray[np.float64] | Tensor, spatial: Sequence[int], dtype: torch.dtype = torch.float32
) -> Tensor:
    """(1, D, *spatial) field of ``x -> A x + t``.

    Args:
        matrix: (D, D+1) or (D+1, D+1), array-axis order, voxels, fixed -> moving.
        spatial: size of the grid.
        dtype: of the result.
    """
    affine = torch.as_tensor(matrix, dtype=torch.float64)[: len(spatial)]
    grid = identity_grid(spatial, dtype=torch.float64)
    shift = affine[:, -1].view(-1, *(1,) * len(spatial))
    return (torch.einsum("ij,j...->i...", affine[:, :-1], grid) + shift - grid)[None].to(dtype)


def affine_residual(matrix: npt.NDArray[np.float64] | Tensor, ddf: Tensor) -> Tensor:
    """The residual r with ``ddf == compose(affine_to_ddf(matrix), r)``: what a field does beyond an affine.

    Args:
        matrix: (D, D+1) or (D+1, D+1), invertible, array-axis order, voxels.
        ddf: (B, D, *spatial), voxels.

    Returns:
        (B, D, *spatial), voxels.
    """
    spatial = ddf.shape[2:]
    affine = torch.as_tensor(matrix, dtype=torch.float64)[: len(spatial)]
    grid = identity_grid(spatial, dtype=torch.float64)
    target = grid + ddf.double() - affine[:, -1].view(-1, *(1,) * len(spatial))
    back = torch.linalg.inv(affine[:, :-1])
    return (torch.einsum("ij,bj...->bi...", back, target) - grid).to(ddf.dtype)


def compose_affine(matrix: npt.NDArray[np.float64] | Tensor, residual: Tensor) -> Tensor:
    """``compose(affine_to_ddf(matrix), residual)``, but exact where the residual leaves the grid.

    A sampled affine field can only be continued by its border value there, which folds a rotation over.

    Args:
        matrix: (D, D+1) or (D+1, D+1), array-axis order, voxels; applied to the image first.
        residual: (B, D, *spatial), voxels.

    Returns:
        (B, D, *spatial), voxels.
    """
    spatial = residual.shape[2:]
    affine = torch.as_tensor(matrix, dtype=torch.float64)[: len(spatial)]
    grid = identity_grid(spatial, dtype=torch.float64)
    shift = affine[:, -1].view(-1, *(1,) * len(spatial))
    there = torch.einsum("ij,bj...->bi...", affine[:, :-1], grid + residual.double().cpu()) + shift
    return (there - grid).to(residual)
