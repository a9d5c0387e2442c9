"""Dense field from point matches: match, remove outliers, interpolate.

Source: Zhang et al., "A Hybrid Deep Feature-Based Deformable Image Registration Method for Pathological Images".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from time import perf_counter

from custom_components.common.errors import RegistrationError
from custom_components.fields import compose, compose_affine, nonrigid_part, sample_at, warp
from custom_components.inferers.interpolation import Interpolation, SplineInterpolation
from custom_components.inferers.result import Estimate, PairImages, Stage
from custom_components.matching.matcher import Matcher
from custom_components.matching.outliers import filter_pairs, merge_duplicates
from custom_components.matching.point_pairs import PointPairs


class HybridMatching:
    """Matches after the estimate so far, filtered twice, interpolated to a residual field.

    The matchers are asked in order; the next one is asked only while fewer than ``enough`` pairs survive the filters,
    so that slow ones work where they earn it. With ``enough`` set to None the union of all is taken, as in the paper.

    Args:
        matchers: in order of cost.
        stop_after_matches: surviving pairs with which no further matcher is asked.
        interpolation: of the surviving matches.
        contamination: of the isolation forest; see ``isolation_forest``.
        tolerance: share of the tissue's diagonal by which a pair may differ from its neighbourhood.
        rounds: of the local affine correction.
        min_share: smaller share of matches that agree with their neighbours, and the pair is refused; unrelated images
            reach 0.21 by chance.
        min_support: with so many matches of the estimate so far the share is not asked: stains may differ in all
            detail and yet agree in the large.
        seed: of both filters.
        name: of the stage in the report; two steps of one chain need two names.
    """

    def __init__(
        self,
        matchers: Sequence[Matcher],
        stop_after_matches: int | None = 200,
        interpolation: Interpolation | None = None,
        contamination: float | str = "auto",
        tolerance: float = 0.008,
        rounds: int = 30,
        min_share: float = 0.215,
        min_support: int = 300,
        seed: int = 0,
        name: str = "hybrid matching",
    ) -> None:
        self.matchers = list(matchers)
        self.stop_after_matches = stop_after_matches
        self.interpolation = interpolation or SplineInterpolation()
        self.contamination = contamination
        self.tolerance = tolerance
        self.rounds = rounds
        self.min_share = min_share
        self.min_support = min_support
        self.seed = seed
        self.name = name

    def __call__(self, images: PairImages, estimate: Estimate) -> Estimate:
        """See ``Step``; with fewer than 8 surviving pairs the estimate so far is kept.

        Raises:
            RegistrationError: hardly more matches agree with their neighbours than would by chance.
        """
        start = perf_counter()
        warped = warp(images.moving, estimate.ddf)
        union, kept, details = PointPairs.empty(), PointPairs.empty(), dict[str, float]()
        dropped = PointPairs.empty()
        for matcher in self.matchers:
            union = merge_duplicates(PointPairs.concatenate([union, matcher(warped, images.fixed)]))
            forest, passed = filter_pairs(
                union, tolerance=self.tolerance * images.diagonal, contamination=self.contamination,
                rounds=self.rounds, seed=self.seed,
            )  # fmt: skip
            kept = union.select(passed)
            dropped = PointPairs.concatenate([union.select(~forest), union.select(forest & ~passed)])
            details = {
                "matchers": self.matchers.index(matcher) + 1,
                "matches": len(union),
                "kept_isolation_forest": int(forest.sum()) / max(len(union), 1),
                "kept_neighbourhood": len(kept) / max(int(forest.sum()), 1),
                "kept": len(kept),
            }
            if self.stop_after_matches is not None and len(kept) >= self.stop_after_matches:
                break
        if len(kept) < self.min_share * len(union) and len(estimate.matches) < self.min_support:
            raise RegistrationError(
                f"no consistent alignment: {len(kept)} of {len(union)} matches agree with their neighbours (needed: "
                f"{self.min_share:.1%}), and {len(estimate.matches)} with the alignment so far (needed without that: "
                f"{self.min_support}). Are both images of the same tissue?"
            )
        ddf = estimate.ddf
        if len(kept) >= 8:
            residual = self.interpolation(kept.fixed, kept.moving - kept.fixed, images.shape, images.diagonal)
            so_far = nonrigid_part(estimate.affine, estimate.ddf)
            ddf = compose_affine(estimate.affine, compose(so_far, residual.to(ddf)))
        return replace(
            estimate,
            ddf=ddf,
            matches=_in_moving_image(kept, estimate),
            dropped=_in_moving_image(dropped, estimate),
            stages=(*estimate.stages, Stage(self.name, perf_counter() - start, details)),
        )


def _in_moving_image(pairs: PointPairs, estimate: Estimate) -> PointPairs:
    """Pairs found on the warped moving image, in the voxels of the moving image itself."""
    if len(pairs) == 0:
        return pairs
    return PointPairs(
        pairs.moving + sample_at(estimate.ddf.cpu(), pairs.moving).to(pairs.moving), pairs.fixed, pairs.score
    )
