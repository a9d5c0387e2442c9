"""Smooth field near scattered displacements, some of which are wrong: a robust cubic B-spline fit."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from itertools import combinations_with_replacement

import numpy as np
import numpy.typing as npt
import torch
from scipy import sparse
from scipy.linalg import solveh_banded
from threadpoolctl import ThreadpoolController
from torch import Tensor

from custom_components.common.errors import InputError

Floats = npt.NDArray[np.float64]


def control_count(side: int, spacing: float) -> int:
    """Number of control points, ``spacing`` voxels apart, whose splines span an axis of ``side`` voxels."""
    return int(np.ceil((side - 1) / spacing)) + 3


def basis(positions: Floats, count: int, spacing: float) -> tuple[npt.NDArray[np.intp], Floats]:
    """The four uniform cubic B-splines that reach each position along one axis.

    Args:
        positions: (N,) voxels; beyond the last knot the last cell's polynomial goes on no further.
        count: control points of the axis; number i sits at voxel ``(i - 1) * spacing``.
        spacing: voxels between control points.

    Returns:
        Their indices (N, 4) and values (N, 4), which sum to one.
    """
    t = np.clip(positions / spacing, 0, count - 3 - 1e-9)
    cell = np.floor(t).astype(np.intp)
    f = t - cell
    values = np.stack([(1 - f) ** 3, 3 * f**3 - 6 * f**2 + 4, -3 * f**3 + 3 * f**2 + 3 * f + 1, f**3], axis=1) / 6
    return cell[:, None] + np.arange(4), values


def spline_matrix(side: int, spacing: float) -> Floats:
    """(side, number of control points) values of the splines along one axis at its voxels; the rows sum to one.

    Args:
        side: voxels.
        spacing: voxels between control points, which begin one spacing before the first voxel.
    """
    count = control_count(side, spacing)
    index, values = basis(np.arange(side, dtype=np.float64), count, spacing)
    matrix = np.zeros((side, count))
    np.put_along_axis(matrix, index, values, axis=1)
    return matrix


def design_matrix(points: Floats, counts: Sequence[int], spacing: float) -> sparse.csr_array:
    """(N, number of control points) values of all tensor-product splines at ``points`` (N, D)."""
    rows = len(points)
    columns, values = np.zeros((rows, 1), dtype=np.intp), np.ones((rows, 1))
    for axis, count in enumerate(counts):
        index, weight = basis(points[:, axis], count, spacing)
        columns = (columns[:, :, None] * count + index[:, None, :]).reshape(rows, 4 ** (axis + 1))
        values = (values[:, :, None] * weight[:, None, :]).reshape(rows, 4 ** (axis + 1))
    where = np.repeat(np.arange(rows), columns.shape[1])
    return sparse.csr_array((values.ravel(), (where, columns.ravel())), shape=(rows, int(np.prod(counts))))


def bending_energy(counts: Sequence[int], spacing: float) -> sparse.csr_array:
    """Quadratic form of the control points: the integral of the squared second derivatives, by differences."""
    size = int(np.prod(counts))
    total = sparse.csr_array((size, size))
    for first, second in combinations_with_replacement(range(len(counts)), 2):
        operator = sparse.csr_array(np.ones((1, 1)))
        for axis, count in enumerate(counts):
            order = (axis == first) + (axis == second)
            operator = sparse.kron(operator, _difference(count, order, spacing), format="csr")
        total = total + (1 if first == second else 2) * (operator.T @ operator)
    return sparse.csr_array(total * spacing ** len(counts))


def _difference(count: int, order: int, spacing: float) -> sparse.csr_array:
    stencil = {0: [1.0], 1: [-1.0, 1.0], 2: [1.0, -2.0, 1.0]}[order]
    shape = (max(count - order, 0), count)
    return sparse.csr_array(
        sparse.diags_array([v / spacing**order for v in stencil], offsets=range(order + 1), shape=shape)
    )


def upper_bands(matrix: sparse.csr_array, width: int | None = None) -> Floats:
    """(width + 1, n) upper diagonals of a symmetric matrix, the main one last, as SciPy's banded solvers take them.

    Args:
        matrix: (n, n), entries near the diagonal alone.
        width: number of diagonals beside the main one; None takes as many as there are.
    """
    upper = sparse.triu(matrix, format="coo")
    rows, columns = upper.coords
    width = int((columns - rows).max(initial=0)) if width is None else width
    bands = np.zeros((width + 1, matrix.shape[0]))
    bands[width + rows - columns, columns] = upper.data
    return bands


def solve_banded(bands: Floats, right: Floats) -> Floats:
    """Solution of a symmetric positive definite system, from its ``upper_bands``, which are not kept."""
    # Its many small steps gain nothing by threads, which on a busy machine wait for each other 30 times as long
    with _libraries().limit(limits=1, user_api="blas"):
        return np.asarray(solveh_banded(bands, right, overwrite_ab=True, check_finite=False))


@cache
def _libraries() -> ThreadpoolController:
    return ThreadpoolController()


def distinct(points: Floats) -> tuple[Floats, npt.NDArray[np.intp]]:
    """(M, D) the distinct rows of (N, D) points, and (N,) which of them each point is."""
    code = np.zeros(len(points), dtype=np.intp)
    for axis in range(points.shape[1]):
        values, number = np.unique(points[:, axis], return_inverse=True)
        code = np.unique(code * len(values) + number.ravel(), return_inverse=True)[1].ravel()
    first = np.zeros(int(code.max(initial=-1)) + 1, dtype=np.intp)
    first[code] = np.arange(len(points))
    return points[first], code


def weighted_gram(design: sparse.csr_array, entries: int, width: int) -> sparse.csc_array:
    """The map from weights w (M,) to ``upper_bands`` of ``design.T @ (design * w)``, flattened.

    That product is asked for again with each change of the weights; as a linear map of them it is computed once.

    Args:
        design: (M, n), ``entries`` in each row, their columns in order, as ``design_matrix`` gives it.
        entries: of a row.
        width: diagonals beside the main one.
    """
    rows, size = design.shape
    columns = design.indices.reshape(rows, entries)
    values = design.data.reshape(rows, entries)
    first, second = np.triu_indices(entries)
    low, high = columns[:, first], columns[:, second]
    where = (width + low - high) * size + high
    starts = np.arange(rows + 1) * len(first)
    return sparse.csc_array(
        ((values[:, first] * values[:, second]).ravel(), where.ravel(), starts), shape=((width + 1) * size, rows)
    )


def robust_spline(
    points: Tensor,
    displacements: Tensor,
    spatial: Sequence[int],
    *,
    spacing: float,
    smoothness: float,
    weights: Tensor | None = None,
    rest: float = 1e-6,
    scale: float | None = None,
    start_scale: float | None = None,
    steps: int = 12,
) -> tuple[Tensor, Tensor]:
    """Field that minimises ``sum_i w_i rho(|u(x_i) - d_i|) + smoothness * bending(u)``.

    rho is Geman and McClure's, whose scale shrinks from ``start_scale`` to ``scale`` while the field softens
    (graduated non-convexity, Black and Rangarajan, IJCV 1996): far outliers end with no say. Where there are no
    points the field goes on as an affine, more or less; see ``rest``.

    Args:
        points: (N, D) voxels, array-axis order.
        displacements: (N, D) voxels.
        spatial: (D,) size of the grid.
        spacing: voxels between control points.
        smoothness: square voxels; larger is stiffer.
        weights: (N,), 1 each if None.
        rest: weight that pulls each control point towards zero; it keeps the fit defined with fewer points than an
            affine needs, and at 1e-3 lets the field fade out where there are no points.
        scale: voxels; residual at which a point has lost three quarters of its weight. None: plain least squares.
        start_scale: voxels, of the first step; None starts at ``scale``.
        steps: of reweighting.

    Returns:
        The field (1, D, *spatial) float32, voxels, and the share (N,) of its weight that each point kept.

    Raises:
        InputError: shapes disagree or a value is not finite.
    """
    dimensions = len(spatial)
    if points.shape != displacements.shape or points.ndim != 2 or points.shape[1] != dimensions:
        raise InputError(
            f"points and displacements must be (N, {dimensions}), "
            f"got {tuple(points.shape)} and {tuple(displacements.shape)}"
        )
    where, what = (t.detach().cpu().double().numpy() for t in (points, displacements))
    if not (np.isfinite(where).all() and np.isfinite(what).all()):
        raise InputError("a point or displacement is not finite")
    prior = np.ones(len(where)) if weights is None else weights.detach().cpu().double().numpy()
    counts = [control_count(side, spacing) for side in spatial]
    # votes of several methods lie on the same places, whose splines are then the same
    places, number = distinct(where)
    design = design_matrix(places, counts, spacing)
    size = design.shape[1]
    bending = bending_energy(counts, spacing)
    width = int(np.abs(np.subtract(*bending.nonzero())).max(initial=0))
    width = max(width, sum(3 * int(np.prod(counts[axis + 1 :])) for axis in range(dimensions)))
    stiff, gram = upper_bands(bending, width), weighted_gram(design, 4**dimensions, width)

    def summed(values: Floats) -> Floats:  # over the points of each place
        return np.bincount(number, values, minlength=len(places)).astype(np.float64)

    kept = np.ones(len(where))
    control = np.zeros((size, dimensions))
    last = 0 if scale is None else steps - 1
    for turn in range(last + 1):
        progress = turn / last if last else 1.0
        stiffness = smoothness * 30 ** (1 - progress)
        weight = prior * kept
        bands = (gram @ summed(weight)).reshape(width + 1, size) + stiffness * stiff
        bands[-1] += rest
        right = design.T @ np.stack([summed(weight * column) for column in what.T], axis=1)
        control = solve_banded(bands, right)
        if scale is not None:
            width_now = scale * ((start_scale or scale) / scale) ** (1 - progress)
            squared = (((design @ control)[number] - what) ** 2).sum(axis=1)
            kept = 1 / (1 + squared / width_now**2) ** 2
    field = torch.from_numpy(_evaluate(control, spatial, spacing))[None].float()
    return field, torch.from_numpy(kept)


def _evaluate(control: Floats, spatial: Sequence[int], spacing: float) -> Floats:
    """(D, *spatial) from control points (number, D), one axis after the other."""
    matrices = [spline_matrix(side, spacing) for side in spatial]
    values = control.T.reshape(-1, *(matrix.shape[1] for matrix in matrices))
    for axis, matrix in enumerate(matrices, start=1):
        values = np.moveaxis(np.tensordot(matrix, values, axes=(1, axis)), 0, axis)
    return np.ascontiguousarray(values)
