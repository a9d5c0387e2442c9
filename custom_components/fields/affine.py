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
    return compose_affine(matrix, torch.zeros(1, len(spatial), *spatial, dtype=torch.float64)).to(dtype)


def affine_residual(matrix: npt.NDArray[np.float64] | Tensor, ddf: Tensor) -> Tensor:
    """The residual r with ``ddf == compose(affine_to_ddf(matrix), r)``: what a field does beyond an affine.

    Args:
        matrix: (D, D+1) or (D+1, D+1), invertible, array-axis order, voxels.
        ddf: (B, D, *spatial), voxels.

    Returns:
        (B, D, *spatial), voxels.
    """
    linear, shift, grid = _parts(matrix, ddf)
    residual = torch.einsum("ij,bj...->bi...", torch.linalg.inv(linear), grid + ddf.double() - shift) - grid
    return residual.to(ddf.dtype)


def compose_affine(matrix: npt.NDArray[np.float64] | Tensor, residual: Tensor) -> Tensor:
    """``compose(affine_to_ddf(matrix), residual)``, but exact where the residual leaves the grid.

    A sampled affine field can only be continued by its border value there, which folds a rotation over.

    Args:
        matrix: (D, D+1) or (D+1, D+1), array-axis order, voxels; applied to the image first.
        residual: (B, D, *spatial), voxels.

    Returns:
        (B, D, *spatial), voxels.
    """
    linear, shift, grid = _parts(matrix, residual)
    ddf = torch.einsum("ij,bj...->bi...", linear, grid + residual.double()) + shift - grid
    return ddf.to(residual.dtype)


def _parts(matrix: npt.NDArray[np.float64] | Tensor, field: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Linear part (D, D), shift (D, 1, ...) and voxel grid (D, *spatial), float64, on the device of the field."""
    spatial = field.shape[2:]
    affine = torch.as_tensor(matrix, dtype=torch.float64, device=field.device)[: len(spatial)]
    shift = affine[:, -1].view(-1, *(1,) * len(spatial))
    return affine[:, :-1], shift, identity_grid(spatial, field.device, torch.float64)
