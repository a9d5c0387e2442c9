"""Fine-tuning of a field by dense optical flow, fused with the matches in one robust spline.

Matches know where tissue went but are sparse and a few voxels coarse; dense flow is sub-voxel but lost when it starts
too far away or the stains differ too much. So flow is computed twice, from the matches' field and from the affine
alone, each forward and backward; where the two directions disagree a flow has no say; and where several agree with
themselves, the one that aligns the local texture best has most. What is left, the matches among it, are votes for the
displacement, and a robust spline is fitted to them all: no candidate can tear the field, and the field can't fold
where votes contradict each other. The flow is OpenCV's DIS (Kroeger et al., ECCV 2016).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from time import perf_counter
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from custom_components.fields import (
    affine_to_ddf,
    compose_affine,
    folding_share,
    nonrigid_part,
    repair_folds,
    warp,
)
from custom_components.inferers.interpolation import Interpolation, SplineInterpolation
from custom_components.inferers.result import Estimate, PairImages, Stage
from custom_components.matching.affine import apply_affine

Grey = npt.NDArray[np.uint8]
Weight = npt.NDArray[np.float32]
Flow = npt.NDArray[np.float32]  # (H, W, 2), x then y, as OpenCV has it; on the grid of the first image
SMOOTH = 6.0  # voxels; a Gaussian this wide is as good as linear between its voxels


def to_bytes(image: Tensor) -> Grey:
    """(1, 1, H, W) in [0, 1] -> (H, W) uint8."""
    return (image[0, 0].clamp(0, 1) * 255).round().to(torch.uint8).cpu().numpy()


def flow_to_ddf(flow: Flow) -> Tensor:
    """(H, W, 2) x, y -> (1, 2, H, W) row, col."""
    return torch.from_numpy(np.ascontiguousarray(flow[..., ::-1].transpose(2, 0, 1)))[None]


def ddf_to_flow(ddf: Tensor) -> Flow:
    """(1, 2, H, W) row, col -> (H, W, 2) x, y."""
    return np.ascontiguousarray(ddf[0].cpu().numpy()[::-1].transpose(1, 2, 0), dtype=np.float32)


@lru_cache(maxsize=2)  # 8 bytes a voxel, asked for with every flow
def _places(height: int, width: int) -> Flow:
    """(height, width, 2) x, y of the voxels; not to be written to."""
    places = np.ascontiguousarray(np.mgrid[:height, :width][::-1].transpose(1, 2, 0), dtype=np.float32)
    places.flags.writeable = False
    return places


def pull(values: npt.NDArray[np.generic], flow: Flow) -> npt.NDArray[np.generic]:
    """``values`` (H, W[, C]) read at ``x + flow(x)``, border continued."""
    places = _places(*flow.shape[:2]) + flow
    return np.asarray(cv2.remap(values, places, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE))


def invert_flow(flow: Flow, iterations: int = 6) -> Flow:
    """Fixed-point inverse of a small flow on a dense grid; the general inversion is ``fields.invert``."""
    grid, back = _places(*flow.shape[:2]), -flow
    inverse = back
    for _ in range(iterations):
        inverse = cv2.remap(back, grid + inverse, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(inverse, dtype=np.float32)


def blur(values: npt.NDArray[np.float32], sigma: float) -> npt.NDArray[np.float32]:
    """Gaussian blur of (H, W[, C]); a wide one on a coarser grid, which shows the same to about a thousandth."""
    size = values.shape[:2]
    factor = min(int(sigma / SMOOTH), min(size) // 4)
    if factor < 2:
        return np.asarray(cv2.GaussianBlur(values, (0, 0), sigma), dtype=np.float32)
    small = [-(-side // factor) for side in size]
    # a mean over a coarse voxel, and linear interpolation between such, are blurs too: variances of 1/12 and 1/6
    sigmas = [float(np.sqrt((sigma * new / old) ** 2 - 0.25)) for new, old in zip(small, size, strict=True)]
    coarse = cv2.resize(values, small[::-1], interpolation=cv2.INTER_AREA)
    coarse = cv2.GaussianBlur(coarse, (0, 0), sigmaX=sigmas[1], sigmaY=sigmas[0])
    return np.asarray(cv2.resize(coarse, size[::-1], interpolation=cv2.INTER_LINEAR), dtype=np.float32)


def consistent_flow(
    fixed: Grey, moving: Grey, seed: Flow | None, tolerance: float, back: Flow | None = None
) -> tuple[Flow, Weight]:
    """Mean of the forward flow and the inverse of the backward flow, and how well the two agree.

    Args:
        fixed: (H, W), the grid of the result.
        moving: (H, W).
        seed: start of the search, or None for zero.
        tolerance: voxels of disagreement at which the weight has fallen to 1/e.
        back: ``invert_flow(seed)``, if it is known.

    Returns:
        The flow and its weight (H, W) in 0..1.
    """
    # not kept for the next image: an instance that meets another image size may wait for itself for ever
    dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    if seed is not None and back is None:
        back = invert_flow(seed)
    forward = dis.calc(fixed, moving, None if seed is None else seed.copy())
    backward = invert_flow(dis.calc(moving, fixed, None if back is None else back.copy()))
    apart = forward - backward
    squared = apart[..., 0] ** 2 + apart[..., 1] ** 2
    return (forward + backward) / 2, np.exp(squared * np.float32(-1 / tolerance**2)).astype(np.float32)


class Moments(NamedTuple):
    """What the local correlation of one image with others is made of.

    Attributes:
        values: (H, W) float32.
        mean: in the window about each voxel.
        variance: likewise, and a little more, so that there is no correlation without texture.
        sigma: of the window, voxels.
    """

    values: Weight
    mean: Weight
    variance: Weight
    sigma: float

    @classmethod
    def of(cls, image: Grey, sigma: float) -> Moments:
        """Those of (H, W)."""
        values = image.astype(np.float32)
        mean = blur(values, sigma)
        return cls(values, mean, blur(values * values, sigma) - mean**2 + 20, sigma)

    def correlation(self, other: Moments) -> Weight:
        """(H, W) windowed normalised cross-correlation with another image of the same size and window."""
        covariance = blur(self.values * other.values, self.sigma) - self.mean * other.mean
        variances = np.maximum(self.variance * other.variance, 1e-6)
        return np.asarray(covariance / np.sqrt(variances), dtype=np.float32)


def local_correlation(first: Grey, second: Grey, sigma: float) -> npt.NDArray[np.float32]:
    """Gaussian-windowed normalised cross-correlation per voxel; near 0 where there is no texture."""
    return Moments.of(first, sigma).correlation(Moments.of(second, sigma))


def similarity_shares(fixed: Grey, moving: Grey, flows: Sequence[Flow], sigma: float, sharpness: float) -> Weight:
    """(K, H, W) softmax, over K flows, of the local correlation that each one reaches; they sum to one per voxel."""
    score = np.stack([local_correlation(fixed, pull(moving, flow).astype(np.uint8), sigma) for flow in flows])
    fraction = np.exp(sharpness * (score - score.max(axis=0)))
    return np.asarray(fraction / fraction.sum(axis=0), dtype=np.float32)


def votes(flow: Flow, weight: Weight, stride: int) -> tuple[Tensor, Tensor, Tensor]:
    """Points (N, 2), displacements (N, 2) in row, col and weights (N,) of a flow, every ``stride`` voxels."""
    cut = np.s_[stride // 2 :: stride, stride // 2 :: stride]
    points = np.moveaxis(np.mgrid[: flow.shape[0], : flow.shape[1]], 0, -1)[cut].reshape(-1, 2)
    heavy = weight[cut].ravel() > 0.02
    values = (points, flow[cut].reshape(-1, 2)[:, ::-1], weight[cut].ravel())
    first, second, third = (torch.from_numpy(v[heavy].astype(np.float64)) for v in values)
    return first, second, third


def common_tissue(images: PairImages, ddf: Tensor) -> Weight:
    """(H, W) 0..1, where both images show tissue after warping, less a soft rim where one of them ends."""
    both = np.ascontiguousarray((images.fixed_mask * warp(images.moving_mask, ddf))[0, 0].cpu().numpy(), np.float32)
    return np.clip(2 * blur(both, images.diagonal / 150) - 1, 0, 1)


def local_similarity(images: PairImages, ddf: Tensor) -> float:
    """Mean local correlation over the fixed tissue after warping."""
    warped = to_bytes(warp(images.moving, ddf))
    score = local_correlation(to_bytes(images.fixed), warped, sigma=images.diagonal / 100)
    tissue = images.fixed_mask[0, 0].cpu().numpy() > 0.5
    return float(score[tissue].mean()) if tissue.any() else 0.0


class FlowRefinement:
    """Refines the residual field after the affine part of the chain; see the module's text.

    Args:
        interpolation: of all votes.
        weight: of a flow's vote; a match's is 1.
        window: of the local similarity, share of the tissue's diagonal.
        sharpness: of the choice between candidates by similarity.
        tolerance: voxels; see ``consistent_flow``.
        caution: power of the neighbourhood's agreement that weighs a flow further; where most of a neighbourhood
            disagrees the stains differ too much, and the places that agree do so by chance.
        stride: voxels between the votes of a flow.
        minimum_jacobian: the field is smoothed locally until its Jacobian determinant is above this.
    """

    def __init__(
        self,
        interpolation: Interpolation | None = None,
        weight: float = 3.0,
        window: float = 0.021,
        sharpness: float = 20.0,
        tolerance: float = 2.0,
        caution: float = 2.0,
        stride: int = 8,
        minimum_jacobian: float = 0.1,
    ) -> None:
        self.interpolation = interpolation or SplineInterpolation()
        self.weight = weight
        self.window = window
        self.sharpness = sharpness
        self.tolerance = tolerance
        self.caution = caution
        self.stride = stride
        self.minimum_jacobian = minimum_jacobian

    def __call__(self, images: PairImages, estimate: Estimate) -> Estimate:
        """See ``Step``: the flow is seeded by the estimate and by its affine part alone."""
        start = perf_counter()
        base = affine_to_ddf(estimate.affine, images.shape).to(estimate.ddf)
        fixed, moving = to_bytes(images.fixed), to_bytes(warp(images.moving, base))
        # estimate = compose(base, residual)  =>  base moves x + residual(x) to x + estimate(x)
        matched = ddf_to_flow(nonrigid_part(estimate.affine, estimate.ddf))
        trust = common_tissue(images, base)
        seeds = [None, matched] if np.abs(matched).max() > 0.1 else [None]
        found = [consistent_flow(fixed, moving, seed, self.tolerance) for seed in seeds]
        candidates = [*found, (matched, np.ones_like(trust))]
        shares = similarity_shares(
            fixed, moving, [flow for flow, _ in candidates], self.window * images.diagonal, self.sharpness
        )
        sigma, ballot = self.window * images.diagonal, []
        for (flow, sure), fraction in zip(candidates, shares, strict=True):
            around = blur(sure * trust, sigma) / blur(trust + np.float32(1e-3), sigma)
            ballot.append(votes(flow, self.weight * trust * sure * around**self.caution * fraction, self.stride))
        ballot.append(_match_votes(estimate))
        points, displacements, weights = (torch.cat(parts) for parts in zip(*ballot, strict=True))
        residual = self.interpolation(points, displacements, images.shape, images.diagonal, weights)
        # of the residual, since a mirrored section's affine turns all tissue over, and rightly so
        repaired = repair_folds(residual, self.minimum_jacobian)
        ddf = compose_affine(estimate.affine, repaired.to(base))
        details = {
            "folding_before_repair": folding_share(residual.to(base), images.fixed_mask),
            "folding": folding_share(repaired.to(base), images.fixed_mask),
            "similarity_before": local_similarity(images, estimate.ddf),
            "similarity": local_similarity(images, ddf),
        }
        return replace(
            estimate,
            ddf=ddf,
            stages=(*estimate.stages, Stage("flow refinement", perf_counter() - start, details)),
        )


def _match_votes(estimate: Estimate) -> tuple[Tensor, Tensor, Tensor]:
    """The estimate's matches as votes for the residual displacement after its affine."""
    fixed = estimate.matches.fixed.cpu().double()
    back = apply_affine(np.asarray(np.linalg.inv(estimate.affine)), estimate.matches.moving.cpu().double())
    return fixed, back - fixed, torch.ones(len(fixed), dtype=torch.float64)
