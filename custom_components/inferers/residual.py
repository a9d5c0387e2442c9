"""How a step that estimates the field after the affine hands its result on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from time import perf_counter

from torch import Tensor

from custom_components.fields import compose_affine, folding_share, repair_folds
from custom_components.inferers.result import Estimate, PairImages, Stage


def with_residual(
    estimate: Estimate,
    residual: Tensor,
    images: PairImages,
    minimum_jacobian: float | None,
    name: str,
    start: float,
    details: Mapping[str, float],
) -> Estimate:
    """The estimate with another residual, free of folds, and one more stage.

    Args:
        estimate: so far; its affine stays.
        residual: (1, 2, H, W), voxels, what the field does beyond the affine. Folds are repaired in it, not in the
            whole field, since a mirrored section's affine turns all tissue over, and rightly so.
        images: the pair.
        minimum_jacobian: the residual is smoothed locally until its Jacobian determinant is above this; None leaves it.
        name: of the stage.
        start: ``perf_counter()`` when the step began.
        details: of the stage.
    """
    figures = dict(details)
    if minimum_jacobian is not None:
        figures["folding_before_repair"] = folding_share(residual, images.fixed_mask)
        residual = repair_folds(residual, minimum_jacobian)
        figures["folding"] = folding_share(residual, images.fixed_mask)
    ddf = compose_affine(estimate.affine, residual).to(estimate.ddf)
    return replace(estimate, ddf=ddf, stages=(*estimate.stages, Stage(name, perf_counter() - start, figures)))
