"""Outlier removal of the hybrid method: isolation forest, then local affine correction.

Source: Zhang et al., "A Hybrid Deep Feature-Based Deformable Image Registration Method for Pathological Images",
section on outlier detection, equations 5-8. Both filters work on pairs that a global affine has already brought close,
because raw displacements depend on the position under rotation.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from scipy.spatial import Delaunay, QhullError, cKDTree
from sklearn.ensemble import IsolationForest
from torch import Tensor

from custom_components.matching.point_pairs import PointPairs

Floats = npt.NDArray[np.float64]


def isolation_forest(
    pairs: PointPairs, *, contamination: float | str = 0.05, min_pairs: int = 32, spared: float = 1.0, seed: int = 0
) -> Tensor:
    """Mask (N,) of the pairs whose displacement is not isolated from the others.

    Args:
        pairs: matches after the global affine.
        contamination: share taken for outliers, or "auto" (the forest's own score threshold 0.5, which discards true
            extremes when the deformation is strong and local).
        min_pairs: with fewer pairs a forest says nothing and all are kept.
        spared: voxels; displacements this near to the median are kept, or a forest over images that are aligned to
            the voxel would call half of them isolated.
        seed: of the forest.
    """
    if len(pairs) < min_pairs:
        return torch.ones(len(pairs), dtype=torch.bool)
    displacement = (pairs.moving - pairs.fixed).cpu().double().numpy()
    forest = IsolationForest(contamination=contamination, random_state=seed)
    near = np.linalg.norm(displacement - np.median(displacement, axis=0), axis=1) <= spared
    return torch.from_numpy((forest.fit_predict(displacement) > 0) | near)


def even_sample(points: Floats, cells: int, generator: np.random.Generator) -> npt.NDArray[np.int64]:
    """Indices of one random point in every occupied cell of ``cells`` x ``cells`` over the points' bounding box."""
    low = points.min(axis=0)
    size = np.maximum(points.max(axis=0) - low, 1e-9)
    cell = np.minimum(((points - low) / size * cells).astype(np.int64), cells - 1) @ np.array([cells, 1])
    order = generator.permutation(len(points))
    _, first = np.unique(cell[order], return_index=True)
    return order[first]


def _good_triangles(source: Floats, target: Floats, simplices: Floats, min_angle: float) -> npt.NDArray[np.bool_]:
    """Triangles, no slivers in the source, that keep their orientation and, within a factor 3, their area."""
    a, b = source[simplices], target[simplices]

    def area(t: Floats) -> Floats:
        u, v = t[:, 1] - t[:, 0], t[:, 2] - t[:, 0]
        return np.asarray(u[:, 0] * v[:, 1] - u[:, 1] * v[:, 0])

    sides = np.stack([np.linalg.norm(a[:, i] - a[:, j], axis=1) for i, j in ((1, 2), (2, 0), (0, 1))], axis=1)
    # the smallest angle faces the shortest side: sin = 2 * area / (product of the two longer sides)
    longest = np.sort(sides, axis=1)[:, 1:].prod(axis=1)
    ratio = area(b) / np.where(area(a) == 0, np.inf, area(a))
    good: npt.NDArray[np.bool_] = (
        (np.abs(area(a)) > np.sin(np.deg2rad(min_angle)) * longest) & (ratio > 1 / 3) & (ratio < 3)
    )
    return good


def local_affine_scores(
    pairs: PointPairs, *, rounds: int = 50, cells: int = 8, min_angle: float = 10.0, seed: int = 0
) -> Tensor:
    """Median residual (N,) of every pair against affines of random triangles around it, in voxels.

    In each round a random, spatially even subset is triangulated; the three pairs of a triangle give an affine exactly;
    each other pair inside is predicted by it. A pair covered in fewer than 5 rounds gets NaN.

    Args:
        pairs: matches after the global affine.
        rounds: n of the paper, which leaves it open.
        cells: the subset has at most ``cells`` squared pairs.
        min_angle: degrees; flatter triangles extrapolate badly and are passed over.
        seed: of the subsets.
    """
    source, target = (p.cpu().double().numpy() for p in (pairs.fixed, pairs.moving))
    residuals = np.full((rounds, len(pairs)), np.nan)
    generator = np.random.default_rng(seed)
    for row in residuals:
        chosen = even_sample(source, cells, generator) if len(pairs) else np.zeros(0, np.int64)
        if len(chosen) < 4:
            continue
        try:
            mesh = Delaunay(source[chosen])
        except QhullError:  # all points on a line: this draw says nothing
            continue
        inside = mesh.find_simplex(source)
        ok = _good_triangles(source[chosen], target[chosen], mesh.simplices, min_angle)
        covered = (inside >= 0) & ok[inside]
        covered[chosen] = False
        triangle = inside[covered]
        to_barycentric = mesh.transform[triangle]
        weights = np.einsum("nij,nj->ni", to_barycentric[:, :2], source[covered] - to_barycentric[:, 2])
        weights = np.column_stack([weights, 1 - weights.sum(axis=1)])
        corners = target[chosen][mesh.simplices[triangle]]
        row[covered] = np.linalg.norm(np.einsum("ni,nij->nj", weights, corners) - target[covered], axis=1)
    score = np.full(len(pairs), np.nan)
    enough = (~np.isnan(residuals)).sum(axis=0) >= min(5, rounds)
    score[enough] = np.nanmedian(residuals[:, enough], axis=0)
    return torch.from_numpy(score)


def neighbour_consensus(pairs: PointPairs, *, tolerance: float, neighbours: int = 12, passes: int = 3) -> Tensor:
    """Mask (N,) of the pairs whose displacement is near the median displacement of their neighbours.

    The triangles of the local affine correction need three good corners; below about 60 % good pairs most have none.
    This test stands up to half of the neighbours being wrong and comes before it.

    Args:
        pairs: matches after the global affine.
        tolerance: voxels.
        neighbours: nearest pairs in the fixed image that are asked.
        passes: repeated with the survivors as neighbours; a good pair that bad neighbours condemned comes back.
    """
    where = pairs.fixed.cpu().double().numpy()
    displacement = (pairs.moving - pairs.fixed).cpu().double().numpy()
    keep = np.ones(len(pairs), dtype=bool)
    for _ in range(passes):
        asked = np.flatnonzero(keep)
        if len(asked) <= neighbours:
            break
        nearest = asked[cKDTree(where[asked]).query(where, k=neighbours + 1)[1]]
        # nobody is asked about itself; a pair that was rejected before is not among its neighbours anyway
        others = nearest != np.arange(len(pairs))[:, None]
        others[others.all(axis=1), -1] = False
        median = np.median(displacement[nearest[others].reshape(-1, neighbours)], axis=1)
        agrees = np.linalg.norm(displacement - median, axis=1) < tolerance
        if (agrees == keep).all():
            break
        keep = agrees
    return torch.from_numpy(keep)


def local_affine(
    pairs: PointPairs,
    *,
    tolerance: float,
    rounds: int = 50,
    cells: int = 8,
    passes: int = 3,
    trim: float = 0.3,
    seed: int = 0,
) -> Tensor:
    """Mask (N,) of the pairs that move like the affine of the triangles around them.

    Passes reject, worst first, at most the share ``trim`` of the pairs whose score exceeds ``tolerance``, until none
    does: each pass draws its triangles from cleaner pairs. Pairs without a score (at the rim) are kept.

    Args:
        pairs: matches after the global affine.
        tolerance: voxels; a residual below this is never an outlier.
        rounds: see ``local_affine_scores``.
        cells: see ``local_affine_scores``.
        passes: at most this many passes.
        trim: share.
        seed: of the subsets.
    """
    keep = torch.ones(len(pairs), dtype=torch.bool)
    for turn in range(passes):
        index = keep.nonzero()[:, 0]
        score = local_affine_scores(pairs.select(index), rounds=rounds, cells=cells, seed=seed + turn)
        known = ~score.isnan()
        if not known.any():
            break
        limit = max(float(score[known].quantile(1 - trim)), tolerance)
        bad = known & (score > limit)
        keep[index[bad]] = False
        if not bad.any():
            break
    return keep


def neighbourhood(pairs: PointPairs, *, tolerance: float, rounds: int, seed: int = 0) -> Tensor:
    """Mask (N,) of the pairs that pass the neighbour consensus and then, among these, the local affine correction.

    Args:
        pairs: matches after the global affine.
        tolerance: voxels; of both.
        rounds: see ``local_affine_scores``.
        seed: see ``local_affine``.
    """
    keep = neighbour_consensus(pairs, tolerance=tolerance)
    keep[keep.clone()] = local_affine(pairs.select(keep), tolerance=tolerance, rounds=rounds, seed=seed)
    return keep


def filter_pairs(
    pairs: PointPairs, *, tolerance: float, contamination: float | str, rounds: int, seed: int = 0
) -> tuple[Tensor, Tensor]:
    """The filters of the hybrid method one after the other: isolation forest, then neighbourhood.

    Args:
        pairs: matches after the global affine, duplicates merged.
        tolerance: see ``neighbourhood``, voxels.
        contamination: see ``isolation_forest``.
        rounds: see ``neighbourhood``.
        seed: of both filters.

    Returns:
        Masks (N,): what the forest keeps, and of that what the neighbourhood keeps as well.
    """
    forest = isolation_forest(pairs, contamination=contamination, seed=seed)
    keep = forest.clone()
    keep[forest] = neighbourhood(pairs.select(forest), tolerance=tolerance, rounds=rounds, seed=seed)
    return forest, keep


def merge_duplicates(pairs: PointPairs, *, radius: float = 2.0, agreement: float = 3.0) -> PointPairs:
    """One pair, the best scored, for those nearer than ``radius`` in the fixed and ``agreement`` in the moving image.

    Pairs that are close in the fixed image but disagree stay: the filters decide between them.
    """
    if len(pairs) < 2:
        return pairs
    fixed, moving = (p.cpu().double().numpy() for p in (pairs.fixed, pairs.moving))
    close = cKDTree(fixed).query_pairs(radius, output_type="ndarray")
    close = close[np.linalg.norm(moving[close[:, 0]] - moving[close[:, 1]], axis=1) < agreement]
    rank = np.empty(len(pairs), dtype=np.int64)
    rank[pairs.score.cpu().argsort(descending=True, stable=True).numpy()] = np.arange(len(pairs))
    better = np.sort(rank[close], axis=1)
    keep = np.ones(len(pairs), dtype=bool)  # by rank
    for high, low in better[np.argsort(better[:, 0])]:
        # in this order nothing can still remove the better one
        if keep[high]:
            keep[low] = False
    return pairs.select(torch.from_numpy(keep[rank]))
