"""Displacements known at points -> field."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from scipy.interpolate import LinearNDInterpolator, NearestNDInterpolator, RBFInterpolator
from scipy.ndimage import distance_transform_edt
from scipy.spatial import ConvexHull, Delaunay, QhullError
from torch import Tensor

from custom_components.common.errors import InputError
from custom_components.fields.resize import resize


def points_to_ddf(
    points: Tensor,
    displacements: Tensor,
    spatial: Sequence[int],
    *,
    method: Literal["linear", "thin_plate"] = "linear",
    smoothing: float = 0.0,
    neighbors: int | None = 50,
    fade: float = 0.05,
    stride: int = 1,
) -> Tensor:
    """Field through (or near) scattered displacements, fading to zero beyond their convex hull.

    Args:
        points: (N, D) voxels, array-axis order, where the displacement is known.
        displacements: (N, D) voxels.
        spatial: (D,) size of the grid.
        method: "linear" on the Delaunay triangulation, or "thin_plate" spline.
        smoothing: of the thin plate; 0 interpolates.
        neighbors: nearest points a thin plate goes through; None takes all.
        fade: share of the grid's diagonal over which the field falls to zero beyond the hull; infinite never
            fades.
        stride: evaluate on a grid this many times coarser.

    Returns:
        (1, D, *spatial) float32, voxels. Fewer than D+1 points, or points on a line, span no volume: then the
        mean displacement is given everywhere (zero without points).

    Raises:
        InputError: shapes disagree, a value is not finite, or the method is unknown.
    """
    dimensions = len(spatial)
    if points.shape != displacements.shape or points.ndim != 2 or points.shape[1] != dimensions:
        raise InputError(
            f"points and displacements must be (N, {dimensions}), "
            f"got {tuple(points.shape)} and {tuple(displacements.shape)}"
        )
    if method not in ("linear", "thin_plate"):
        raise InputError(f"method is 'linear' or 'thin_plate', got '{method}'")
    where, what = (t.detach().cpu().double().numpy() for t in (points, displacements))
    bad = int((~(np.isfinite(where) & np.isfinite(what)).all(axis=1)).sum())
    if bad:
        raise InputError(f"{bad} of {len(where)} points or displacements are not finite")
    where, unique = np.unique(where, axis=0, return_index=True)
    what = what[unique]
    coarse = [max(1, -(-side // stride)) for side in spatial]
    step = np.array(spatial) / np.array(coarse)
    axes = [(np.arange(side) + 0.5) * s - 0.5 for side, s in zip(coarse, step, strict=True)]
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
    query = grid.reshape(-1, dimensions)
    try:
        mesh = Delaunay(where) if len(where) > dimensions else None
    except QhullError:
        mesh = None
    if mesh is None:
        mean = what.mean(axis=0) if len(what) else np.zeros(dimensions)
        values = np.broadcast_to(mean, query.shape)
    elif method == "linear":
        values = _linear(mesh, where, what, query, coarse, step)
    else:
        values = _thin_plate(where, what, query, smoothing, neighbors)
    field = values.reshape(*coarse, dimensions)
    if mesh is not None and np.isfinite(fade):
        field = field * _fade_weight(where, grid, step, fade * float(np.linalg.norm(spatial)))[..., None]
    ddf = torch.from_numpy(np.ascontiguousarray(np.moveaxis(field, -1, 0)))[None]
    scale = torch.from_numpy(step).view(1, -1, *(1,) * dimensions)
    return resize(ddf / scale, spatial).float()


def _linear(
    mesh: Delaunay,
    where: np.ndarray,
    what: np.ndarray,
    query: np.ndarray,
    coarse: Sequence[int],
    step: np.ndarray,
) -> np.ndarray:
    """Linear on the triangulation; beyond the hull the value of the nearest grid point inside."""
    values = LinearNDInterpolator(mesh, what)(query)
    outside = np.isnan(values[:, 0])
    if outside.all():
        return np.asarray(NearestNDInterpolator(where, what)(query))
    # the nearest data point instead would tear the field along the hull's edges, and so fold it
    nearest = distance_transform_edt(
        outside.reshape(coarse), sampling=step, return_distances=False, return_indices=True
    )
    return np.asarray(values[np.ravel_multi_index(tuple(nearest), tuple(coarse)).ravel()])


def _thin_plate(
    where: np.ndarray, what: np.ndarray, query: np.ndarray, smoothing: float, neighbors: int | None
) -> np.ndarray:
    """Thin plate through the nearest points, through more of them where the nearest lie on a line."""
    count = len(where) if neighbors is None else min(neighbors, len(where))
    while count < len(where):
        try:
            return np.asarray(RBFInterpolator(where, what, neighbors=count, smoothing=smoothing)(query))
        except np.linalg.LinAlgError:
            count *= 2
    return np.asarray(RBFInterpolator(where, what, smoothing=smoothing)(query))


def _fade_weight(points: np.ndarray, grid: np.ndarray, step: np.ndarray, width: float) -> np.ndarray:
    """1 inside the convex hull, falling as a cosine to 0 at ``width`` voxels outside."""
    planes = ConvexHull(points).equations
    # rounding may put a point that spans the hull just outside it, where the field must still meet it
    inside = (grid @ planes[:, :-1].T + planes[:, -1]).max(axis=-1) <= 1e-6
    if not inside.any():
        return np.ones(inside.shape)
    distance = distance_transform_edt(~inside, sampling=step)
    return np.asarray(0.5 + 0.5 * np.cos(np.pi * np.clip(distance / max(width, 1e-9), 0, 1)))
