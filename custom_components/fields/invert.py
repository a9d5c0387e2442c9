"""Inverse of a field by fixed-point iteration."""

from __future__ import annotations

import torch
from torch import Tensor

from custom_components.fields.compose import check_ddf
from custom_components.fields.precision import in_double
from custom_components.fields.sampling import identity_grid, sample


def invert(ddf: Tensor, iterations: int = 50, tolerance: float = 1e-3) -> tuple[Tensor, Tensor]:
    """The field v with ``v(y) = -u(y + v(y))`` (Chen et al., Medical Physics 2008).

    Plain iteration contracts only where u changes by less than a voxel per voxel; global rotations exceed
    that. So the best affine of u is taken out, inverted exactly, and the remainder iterated.

    Args:
        ddf: u, (B, D, *spatial), voxels, fixed -> moving.
        iterations: at most this many.
        tolerance: stop when the largest change is below this, in voxels.

    Returns:
        The inverse, (B, D, *spatial), voxels, moving -> fixed, and the residual (B, 1, *spatial),
        ``|v(y) + u(y + v(y))|`` in voxels: zero where the inverse is exact.
    """
    dimensions = check_ddf(ddf)
    spatial = ddf.shape[2:]
    grid = identity_grid(spatial, ddf.device, ddf.dtype)[None]
    linear, offset = _best_affine(ddf, grid)
    view = (-1, dimensions) + (1,) * dimensions
    back = torch.linalg.inv(linear)

    def to_fixed(moving: Tensor) -> Tensor:  # inverse of the affine part
        return torch.einsum("bij,bj...->bi...", back, moving - offset.view(view))

    # with x + u(x) = A x + t + r(x), the wanted x solves A x + t = y - r(x)
    remainder = grid + ddf - (torch.einsum("bij,bj...->bi...", linear, grid.expand_as(ddf)) + offset.view(view))
    position = to_fixed(grid.expand_as(ddf))
    for turn in range(iterations):
        updated = to_fixed(grid - sample(remainder, position))
        change = (updated - position).abs().max()
        # where the remainder stretches by more than a voxel per voxel, full steps overshoot for ever
        position = updated if turn < 8 else (updated + position) / 2
        if change < tolerance:
            break
    inverse = position - grid
    residual = (inverse + sample(ddf, position)).norm(dim=1, keepdim=True)
    return inverse, residual


def best_affine(ddf: Tensor) -> Tensor:
    """(D, D+1) float64 least-squares affine of ``x -> x + ddf(x)`` for one field (1, D, *spatial)."""
    exact = in_double(ddf)
    linear, offset = _best_affine(exact, identity_grid(ddf.shape[2:], exact.device, torch.float64)[None])
    return torch.cat([linear[0], offset[0][:, None]], dim=1)


def _best_affine(ddf: Tensor, grid: Tensor) -> tuple[Tensor, Tensor]:
    """Least-squares affine (B, D, D), (B, D) of x -> x + u(x); the identity when the fit is near singular."""
    dimensions = ddf.shape[1]
    x = in_double(grid.flatten(2)[0].T)  # (N, D)
    x = torch.cat([x, torch.ones_like(x[:, :1])], dim=1)
    y = in_double((grid + ddf).flatten(2).transpose(1, 2))
    gram = x.T @ x + 1e-9 * torch.eye(dimensions + 1, dtype=torch.float64, device=x.device)
    solution = torch.linalg.solve(gram, x.T @ y)  # (B, D+1, D)
    linear = solution[:, :dimensions].transpose(1, 2)
    offset = solution[:, dimensions]
    singular = torch.linalg.det(linear).abs() < 0.05
    identity = torch.eye(dimensions, dtype=torch.float64, device=x.device)
    # not in place: gradients flow through the solution
    linear = torch.where(singular[:, None, None], identity, linear)
    offset = torch.where(singular[:, None], torch.zeros_like(offset), offset)
    return linear.to(ddf), offset.to(ddf)
