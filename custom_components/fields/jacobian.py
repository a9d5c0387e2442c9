"""Local volume change and folding."""

from __future__ import annotations

import torch
from torch import Tensor

from custom_components.fields.compose import check_ddf


def jacobian_determinant(ddf: Tensor) -> Tensor:
    """Signed det(I + grad u), (B, *spatial); central differences inside, one-sided at the border.

    Args:
        ddf: (B, D, *spatial), voxels. Below zero the map turns tissue over, at zero it collapses it.
    """
    dimensions = check_ddf(ddf)
    # a single slice has no neighbours: nothing changes across it
    slopes = [
        torch.gradient(ddf, dim=axis)[0] if ddf.shape[axis] > 1 else torch.zeros_like(ddf)
        for axis in range(2, ddf.ndim)
    ]
    gradient = torch.stack(slopes, dim=2)  # (B, component, axis, *spatial)
    jacobian = gradient.movedim((1, 2), (-2, -1)) + torch.eye(dimensions, dtype=ddf.dtype, device=ddf.device)
    determinant: Tensor = torch.linalg.det(jacobian)
    return determinant


def folding_share(ddf: Tensor, mask: Tensor | None = None) -> float:
    """Share of voxels with ``det <= 0``.

    Args:
        ddf: (B, D, *spatial), voxels.
        mask: (B, 1, *spatial), voxels above 0.5 count; None takes all, an empty one gives 0.
    """
    folded = jacobian_determinant(ddf) <= 0
    if mask is not None:
        folded = folded[mask[:, 0] > 0.5]
    return float(folded.double().mean()) if folded.numel() else 0.0


def repair_folds(ddf: Tensor, minimum: float = 0.1, iterations: int = 60) -> Tensor:
    """Smooth a field where its Jacobian determinant is below ``minimum``, nowhere else, until it is above.

    Each round replaces the offending voxels and a growing neighbourhood by local averages; the blend
    weight falls off smoothly, so no new edges arise.

    Args:
        ddf: (B, D, *spatial), voxels.
        minimum: determinant aimed at.
        iterations: at most this many rounds.
    """
    dimensions = check_ddf(ddf)
    pool = torch.nn.functional.avg_pool2d if dimensions == 2 else torch.nn.functional.avg_pool3d

    def blur(values: Tensor, radius: int) -> Tensor:
        values = torch.nn.functional.pad(values, (radius,) * 2 * dimensions, mode="replicate")
        for axis in range(dimensions):  # one axis at a time: the cost grows with the radius, not with its square
            values = pool(values, [2 * radius + 1 if a == axis else 1 for a in range(dimensions)], stride=1)
        return values

    for turn in range(iterations):
        bad = (jacobian_determinant(ddf) < minimum)[:, None].to(ddf.dtype)
        if not bad.any():
            break
        radius = 2 + turn // 6
        weight = (blur(blur(bad, radius), radius) * (2 * radius + 1)).clamp(max=1)
        ddf = ddf + weight * (blur(blur(ddf, radius), radius) - ddf)
    return ddf
