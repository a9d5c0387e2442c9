"""Global affine of two sections that may lie in any rotation, and on request mirrored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from time import perf_counter
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from custom_components.common import booleans
from custom_components.common.arrays import Matrix
from custom_components.common.errors import RegistrationError
from custom_components.fields import affine_to_ddf, grid_change, smooth, warp
from custom_components.inferers.result import Estimate, PairImages, Stage
from custom_components.matching.affine import AffineFit, apply_affine, fit_affine
from custom_components.matching.matcher import Matcher
from custom_components.matching.point_pairs import PointPairs

DECISION_SIZE = 1100  # pixels of the longest side at which the winner is judged; matches agree less the more there are
SCALE_SEARCH_SIZE = 384  # pixels of the longest side; four times as many hypotheses are tried
SCALES = (0.5, 2.0, 0.25, 4.0)  # that are tried where none of the rotations alone is supported


def rotation_about_centre(shape: tuple[int, int], degrees: float, mirrored: bool = False, scale: float = 1.0) -> Matrix:
    """(3, 3) row/col matrix that turns and scales about the centre of the grid, the columns mirrored first."""
    centre = (np.array(shape) - 1) / 2
    angle = np.deg2rad(degrees)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    if mirrored:
        turn = turn @ np.diag([1.0, -1.0])
    turn = scale * turn
    matrix = np.eye(3)
    matrix[:2, :2] = turn
    matrix[:2, 2] = centre - turn @ centre
    return matrix


def rescale(matrix: Matrix, factor: float) -> Matrix:
    """The affine of a grid ``factor`` times as fine (half-pixel correct), from one of the coarse grid."""
    to_fine = grid_change((1, 1), (factor, factor))
    return to_fine @ matrix @ np.linalg.inv(to_fine)


def implausible(matrix: Matrix, max_scale: float = 1.6, max_shear: float = 1.5, scale: float = 1.0) -> str:
    """Why an affine can't be that of two sections of one block, read at ``scale``; empty when it can."""
    stretch = np.linalg.svd(matrix[:2, :2] / scale, compute_uv=False)
    if not 1 / max_scale < np.sqrt(stretch.prod()) < max_scale:
        return f"it scales by {np.sqrt(stretch.prod()):.2f}"
    if stretch[0] / max(stretch[1], 1e-9) > max_shear:
        return f"it stretches one direction {stretch[0] / max(stretch[1], 1e-9):.2f} times more than the other"
    return ""


class Hypothesis(NamedTuple):
    """How the moving image may lie.

    Attributes:
        degrees: that it is turned by.
        mirrored: whether the section was turned over.
        scale: pixels of the moving image a pixel of the fixed one.
    """

    degrees: float
    mirrored: bool
    scale: float


class AffineAlignment:
    """Tries rotations (and a mirrored section on request), keeps the one with the most consistent matches.

    The unrotated hypothesis comes first and is taken at once when its evidence is strong; otherwise all are tried at
    ``search_size``. The winner is fitted again, and judged, at the working size, or at ``DECISION_SIZE`` where that is
    smaller, so that a pair is not accepted at one working size and refused at another. Where none is supported the same
    is done with one image 2 and 4 times as coarse as the other: files may state no pixel size, or a wrong one.

    Args:
        matcher: finds pairs; XFeat tolerates about 25 degrees, hence the step.
        rotation_step: degrees between hypotheses.
        mirrored: try mirrored sections too.
        search_size: longest side of the images during the search, voxels.
        threshold: distance, as a share of the tissue's diagonal, within which a pair agrees with the affine.
        min_support: consistent matches at ``search_size`` that end the search, if they are also
        min_support_fraction: of all matches.
        rim: share of the diagonal; matches nearer to the tissue's outline are not counted, since outlines agree under
            wrong rotations too: any of a round core, half a turn of an oval section.
        min_matches: fewer consistent matches at the end and the pair is refused.
        min_share: smaller share of consistent matches at the end and the pair is refused.
        few_matches: with fewer consistent matches than this their share must reach
        few_share: since among few matches that many agree by chance; unrelated images reach 160 matches and 0.5.
    """

    def __init__(
        self,
        matcher: Matcher,
        rotation_step: float = 30.0,
        mirrored: bool = False,
        search_size: int = 512,
        threshold: float = 0.03,
        min_support: int = 300,
        min_support_fraction: float = 0.4,
        rim: float = 0.025,
        min_matches: int = 25,
        min_share: float = 0.26,
        few_matches: int = 200,
        few_share: float = 0.5,
    ) -> None:
        self.matcher = matcher
        self.rotation_step = rotation_step
        self.mirrored = booleans.parse_bool(mirrored, "mirrored")
        self.search_size = search_size
        self.threshold = threshold
        self.min_support = min_support
        self.min_support_fraction = min_support_fraction
        self.rim = rim
        self.min_matches = min_matches
        self.min_share = min_share
        self.few_matches = few_matches
        self.few_share = few_share

    def hypotheses(self, scales: Sequence[float] = (1.0,)) -> Sequence[Hypothesis]:
        """What is tried, the most likely first."""
        angles = [k * self.rotation_step for k in range(round(360 / self.rotation_step))]
        sides = [False, True] if self.mirrored else [False]
        return [Hypothesis(angle, side, scale) for scale in scales for side in sides for angle in angles]

    def __call__(self, images: PairImages, estimate: Estimate) -> Estimate:
        """See ``Step``; the estimate so far is replaced.

        Raises:
            RegistrationError: no affine is supported by enough consistent matches, or only an absurd one.
        """
        start = perf_counter()
        factor = max(1.0, max(images.shape) / self.search_size)
        try:
            found, pairs, fit = self._aligned(images, factor, (1.0,))
        except RegistrationError as refused:
            try:
                coarser = max(factor, max(images.shape) / SCALE_SEARCH_SIZE)
                found, pairs, fit = self._aligned(images, coarser, SCALES)
            except RegistrationError:
                raise refused from None
        details = {
            "degrees": found.degrees, "mirrored": found.mirrored, "scale": found.scale, "matches": len(pairs),
            "consistent": fit.count,
            "consistent_share": fit.count / len(pairs), "median_residual_voxels": fit.residual,
            "determinant": float(np.linalg.det(fit.matrix[:2, :2])),
        }  # fmt: skip
        return replace(
            estimate,
            ddf=affine_to_ddf(fit.matrix, images.shape).to(images.fixed),
            affine=fit.matrix,
            matches=pairs.select(fit.inliers),
            dropped=pairs.select(~fit.inliers),
            stages=(*estimate.stages, Stage("affine alignment", perf_counter() - start, details)),
        )

    def _aligned(
        self, images: PairImages, factor: float, scales: Sequence[float]
    ) -> tuple[Hypothesis, PointPairs, AffineFit]:
        """The best hypothesis, the matches at the size of the decision, and the affine that they support."""
        found, coarse = self._search(images, factor, scales)
        shape, moving, fixed = images.shape, images.moving, images.fixed
        smaller = max(shape) / DECISION_SIZE
        if smaller > 1:
            shape = (round(images.shape[0] / smaller), round(images.shape[1] / smaller))
            moving, fixed = (F.interpolate(t, shape, mode="area") for t in (moving, fixed))
        up = grid_change(shape, images.shape)
        matrix = np.asarray(np.linalg.inv(up) @ rescale(coarse.matrix, factor) @ up)
        pairs = match_turned(self.matcher, moving, fixed, matrix)
        up_moving, up_fixed = (apply_affine(up, points.double()).float() for points in (pairs.moving, pairs.fixed))
        pairs = PointPairs(up_moving, up_fixed, pairs.score)
        fit = fit_affine(pairs, self.threshold * images.diagonal)
        return found, pairs, self._accepted(fit, len(pairs), found.scale)

    def _search(self, images: PairImages, factor: float, scales: Sequence[float]) -> tuple[Hypothesis, AffineFit]:
        """Best hypothesis at the search size, and the affine on the search grid."""
        shape = (round(images.shape[0] / factor), round(images.shape[1] / factor))
        moving, fixed = (F.interpolate(t, shape, mode="area") for t in (images.moving, images.fixed))
        threshold = self.threshold * images.diagonal / factor
        core = erode_mask(F.interpolate(images.fixed_mask, shape, mode="area"), self.rim * images.diagonal / factor)
        best: tuple[Hypothesis, AffineFit] | None = None
        for hypothesis in self.hypotheses(scales):
            pairs = inside(match_turned(self.matcher, moving, fixed, rotation_about_centre(shape, *hypothesis)), core)
            fit = fit_affine(pairs, threshold)
            if fit is None or implausible(fit.matrix, scale=hypothesis.scale):
                continue
            if best is None or fit.count > best[1].count:
                best = hypothesis, fit
            if fit.count >= self.min_support and fit.count >= self.min_support_fraction * len(pairs):
                break
        if best is None:
            raise RegistrationError(
                f"no consistent alignment: none of {len(self.hypotheses())} rotations "
                f"{'and mirror images ' if self.mirrored else ''}gives matches that agree on an affine. "
                "Are both images of the same tissue?"
                + ("" if self.mirrored else " If one section is turned over, set mirrored.")
            )
        return best

    def _accepted(self, fit: AffineFit | None, matches: int, scale: float) -> AffineFit:
        """The fit, if enough of the matches support it and it is plausible."""
        found = 0 if fit is None else fit.count
        why = "" if fit is None else implausible(fit.matrix, scale=scale)
        wanted = self.few_share if found < self.few_matches else self.min_share
        if fit is None or found < self.min_matches or found < wanted * matches or why:
            raise RegistrationError(
                f"no consistent alignment: {found} of {matches} matches agree on the best affine "
                f"(needed: {self.min_matches} and {wanted:.0%})" + (f", and {why}" if why else "")
                + ". Are both images of the same tissue?"
                + ("" if self.mirrored else " If one section is turned over, set mirrored.")
            )  # fmt: skip
        return fit


def erode_mask(mask: Tensor, width: float) -> Tensor:
    """(1, 1, H, W) bool: the mask without a rim of ``width`` voxels; all of it where little would be left."""
    side = 2 * round(width) + 1
    share = mask
    for window in ((side, 1), (1, side)):  # the mean of a square, at the cost of two lines
        share = F.avg_pool2d(share, window, 1, (window[0] // 2, window[1] // 2), count_include_pad=False)
    core = share > 0.99
    return core if core.sum() > 0.25 * mask.sum() else mask > 0.5


def inside(pairs: PointPairs, mask: Tensor) -> PointPairs:
    """The pairs whose fixed point lies on the mask (1, 1, H, W)."""
    row, column = pairs.fixed.round().long().to(mask.device).unbind(dim=1)
    return pairs.select(mask[0, 0, row.clamp(0, mask.shape[2] - 1), column.clamp(0, mask.shape[3] - 1)].cpu())


def match_turned(matcher: Matcher, moving: Tensor, fixed: Tensor, matrix: Matrix) -> PointPairs:
    """Pairs between ``fixed`` and ``moving`` warped by ``matrix`` (fixed -> moving), in the voxels of the originals."""
    if np.allclose(matrix, np.eye(3)):
        return matcher(moving, fixed)
    shape = (fixed.shape[-2], fixed.shape[-1])
    step = float(np.sqrt(abs(np.linalg.det(matrix[:2, :2]))))
    if step > 1.2:  # it becomes coarser: without what the coarser grid can't hold
        moving = smooth(moving, 0.5 * float(np.sqrt(step**2 - 1)))
    turned = warp(moving, affine_to_ddf(matrix, shape).to(moving))
    pairs = matcher(turned, fixed)
    original = apply_affine(matrix, pairs.moving.double()).to(torch.float32)
    return PointPairs(original, pairs.fixed, pairs.score)
