"""Local volume change and folding.

What is measured or repaired is gone through in tiles, so that a field of any size needs little memory beside itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product

import torch
from torch import Tensor

from custom_components.fields.compose import check_ddf
from custom_components.fields.precision import in_double

TILE = {2: 512, 3: 64}  # voxels a side

Region = tuple[slice, ...]  # of the spatial axes, with start and stop


def jacobian_determinant(ddf: Tensor) -> Tensor:
    """Signed det(I + grad u), (B, *spatial); central differences inside, one-sided at the border.

    Args:
        ddf: (B, D, *spatial), voxels. Below zero the map turns tissue over, at zero it collapses it.
    """
    check_ddf(ddf)
    determinant = ddf.new_empty(ddf.shape[0], *ddf.shape[2:])
    for tile in _tiles(ddf.shape[2:]):
        determinant[:, None][_all(tile)] = _determinant(ddf, tile)[:, None]
    return determinant


def folding_share(ddf: Tensor, mask: Tensor | None = None) -> float:
    """Share of voxels with ``det <= 0``.

    Args:
        ddf: (B, D, *spatial), voxels.
        mask: (B, 1, *spatial), voxels above 0.5 count; None takes all, an empty one gives 0.
    """
    check_ddf(ddf)
    folded = counted = 0
    for tile in _tiles(ddf.shape[2:]):
        found = _determinant(ddf, tile) <= 0
        if mask is not None:
            found = found[mask[_all(tile)][:, 0] > 0.5]
        folded += int(found.count_nonzero())
        counted += found.numel()
    return folded / counted if counted else 0.0


def log_jacobian_deviation(ddf: Tensor, mask: Tensor | None = None) -> float:
    """Standard deviation of ``log det``, how unevenly a field changes volumes; folded voxels have none and don't count.

    Args:
        ddf: (B, D, *spatial), voxels.
        mask: (B, 1, *spatial), voxels above 0.5 count; None takes all, an empty one gives 0.
    """
    determinant = jacobian_determinant(ddf)
    counts = determinant > 0 if mask is None else (determinant > 0) & (mask[:, 0] > 0.5)
    return float(in_double(determinant[counts]).log().std(correction=0)) if counts.any() else 0.0


def repair_folds(ddf: Tensor, minimum: float = 0.1, iterations: int = 60) -> Tensor:
    """Smooth a field where its Jacobian determinant is below ``minimum``, nowhere else, until it is above.

    Each round replaces the offending voxels and a growing neighbourhood by local averages; the blend
    weight falls off smoothly, so no new edges arise.

    Args:
        ddf: (B, D, *spatial), voxels; not changed.
        minimum: determinant aimed at.
        iterations: at most this many rounds.

    Returns:
        (B, D, *spatial), ``ddf`` itself where there is nothing to repair.
    """
    check_ddf(ddf)
    spatial = ddf.shape[2:]
    bad = torch.empty(ddf.shape[0], 1, *spatial, dtype=torch.bool, device=ddf.device)
    repaired, outdated = ddf, list(_tiles(spatial))
    for turn in range(iterations):
        for tile in outdated:
            bad[_all(tile)] = (_determinant(repaired, tile) < minimum)[:, None]
        radius = 2 + turn // 6
        # all are computed before any is written: each looks at its neighbours as they were
        changes = [
            (tile, _smoothed(repaired, bad, tile, radius))
            for tile in _tiles(spatial)
            if bad[_all(_widened(tile, 2 * radius, spatial))].any()
        ]
        if not changes:
            break
        repaired = ddf.clone() if repaired is ddf else repaired
        for tile, values in changes:
            repaired[_all(tile)] = values
        outdated = [_widened(tile, 1, spatial) for tile, _ in changes]
    return repaired


def _determinant(ddf: Tensor, region: Region) -> Tensor:
    """(B, *region) determinants in a part of the field."""
    around = _widened(region, 1, ddf.shape[2:])
    cut = ddf[_all(around)]
    # a single slice has no neighbours: nothing changes across it
    slopes = [
        torch.gradient(cut, dim=axis)[0] if ddf.shape[axis] > 1 else torch.zeros_like(cut)
        for axis in range(2, cut.ndim)
    ]
    inner = _all(_inside(region, around))
    # rows[i][j]: change of component i along axis j, of the whole map
    rows = [[slope[inner][:, i] + int(i == j) for j, slope in enumerate(slopes)] for i in range(len(slopes))]
    if len(rows) == 2:
        (a, b), (c, d) = rows
        return a * d - b * c
    (a, b, c), (d, e, f), (g, h, i) = rows
    return a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g)


def _smoothed(ddf: Tensor, bad: Tensor, tile: Region, radius: int) -> Tensor:
    """(B, D, *tile) the field's part, blended with its local average near the voxels of ``bad`` (B, 1, *spatial)."""
    around = _widened(tile, 2 * radius, ddf.shape[2:])
    inner = _all(_inside(tile, around))
    weight = (_blur(_blur(bad[_all(around)].to(ddf.dtype), radius), radius) * (2 * radius + 1)).clamp(max=1)[inner]
    average = _blur(_blur(ddf[_all(around)], radius), radius)[inner]
    return ddf[_all(tile)] + weight * (average - ddf[_all(tile)])


def _blur(values: Tensor, radius: int) -> Tensor:
    dimensions = values.ndim - 2
    pool = torch.nn.functional.avg_pool2d if dimensions == 2 else torch.nn.functional.avg_pool3d
    values = torch.nn.functional.pad(values, (radius,) * 2 * dimensions, mode="replicate")
    for axis in range(dimensions):  # one axis at a time: the cost grows with the radius, not with its square
        values = pool(values, [2 * radius + 1 if a == axis else 1 for a in range(dimensions)], stride=1)
    return values


def _tiles(spatial: Sequence[int]) -> Iterator[Region]:
    side = TILE[len(spatial)]
    yield from product(*[[slice(a, min(a + side, end)) for a in range(0, end, side)] for end in spatial])


def _widened(region: Region, by: int, spatial: Sequence[int]) -> Region:
    """The region and ``by`` voxels around it, as far as the grid goes."""
    return tuple(
        slice(max(part.start - by, 0), min(part.stop + by, end)) for part, end in zip(region, spatial, strict=True)
    )


def _inside(region: Region, around: Region) -> Region:
    """The region in the voxels of the larger one around it."""
    return tuple(
        slice(part.start - whole.start, part.stop - whole.start) for part, whole in zip(region, around, strict=True)
    )


def _all(region: Region) -> Region:
    """The region of all batch items and channels."""
    return (slice(None), slice(None), *region)
