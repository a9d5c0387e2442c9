"""Dense fine-tuning of a field: optical flow seeded by it, checked in both directions, chosen by local similarity.

The interpolated matches know where tissue went but are a few voxels coarse; dense flow is sub-voxel but lost when it
starts too far away. So the flow starts from several seeds (the matches' field and the affine alone), each run forward
and backward; where the two directions disagree the neighbourhood decides; and the candidates are blended by how well
they align the local texture. Two more passes over mirrored images and another contrast average the flow's own noise
away. The flow is OpenCV's DIS (Kroeger et al., ECCV 2016).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from time import perf_counter

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from custom_components.fields import (
    affine_residual,
    affine_to_ddf,
    compose,
    folding_share,
    repair_folds,
    warp,
)
from custom_components.inferers.result import Estimate, PairImages, Stage
from custom_components.transforms.grey import equalise

Grey = npt.NDArray[np.uint8]
Weight = npt.NDArray[np.float32]
Flow = npt.NDArray[np.float32]  # (H, W, 2), x then y, as OpenCV has it; on the grid of the first image


def to_bytes(image: Tensor) -> Grey:
    """(1, 1, H, W) in [0, 1] -> (H, W) uint8."""
    return (image[0, 0].clamp(0, 1) * 255).round().to(torch.uint8).cpu().numpy()


def flow_to_ddf(flow: Flow) -> Tensor:
    """(H, W, 2) x, y -> (1, 2, H, W) row, col."""
    return torch.from_numpy(np.ascontiguousarray(flow[..., ::-1].transpose(2, 0, 1)))[None]


def ddf_to_flow(ddf: Tensor) -> Flow:
    """(1, 2, H, W) row, col -> (H, W, 2) x, y."""
    return np.ascontiguousarray(ddf[0].cpu().numpy()[::-1].transpose(1, 2, 0), dtype=np.float32)


def pull(values: npt.NDArray[np.generic], flow: Flow) -> npt.NDArray[np.generic]:
    """``values`` (H, W[, C]) read at ``x + flow(x)``, border continued."""
    rows, columns = np.mgrid[: flow.shape[0], : flow.shape[1]].astype(np.float32)
    return np.asarray(
        cv2.remap(
            values,
            columns + flow[..., 0],
            rows + flow[..., 1],
            cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REPLICATE,
        )
    )


def invert_flow(flow: Flow, iterations: int = 6) -> Flow:
    """Fixed-point inverse of a small flow on a dense grid; the general inversion is ``fields.invert``."""
    inverse = -flow
    for _ in range(iterations):
        inverse = -pull(flow, inverse).astype(np.float32)
    return inverse


def blur(values: npt.NDArray[np.float32], sigma: float) -> npt.NDArray[np.float32]:
    """Gaussian blur of (H, W[, C])."""
    return np.asarray(cv2.GaussianBlur(values, (0, 0), sigma), dtype=np.float32)


def consistent_flow(
    fixed: Grey, moving: Grey, trust: Weight, seed: Flow | None, sigma: float, tolerance: float = 2.0
) -> Flow:
    """Mean of the forward flow and the inverse of the backward flow, smoothed towards where both agree.

    Args:
        fixed: (H, W), the grid of the result.
        moving: (H, W).
        trust: (H, W) 0..1, where both images show tissue; flow over glass is noise.
        seed: start of the search, or None for zero.
        sigma: voxels of the normalised smoothing; consistent places fill in inconsistent ones.
        tolerance: voxels of disagreement at which the weight has fallen to 1/e.
    """
    dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    forward = dis.calc(fixed, moving, None if seed is None else seed.copy())
    backward = invert_flow(dis.calc(moving, fixed, None if seed is None else invert_flow(seed)))
    disagreement = np.linalg.norm(forward - backward, axis=2)
    weight = trust * np.exp(-((disagreement / tolerance) ** 2)).astype(np.float32) + np.float32(1e-3) * (
        trust + np.float32(1e-3)
    )
    return blur((forward + backward) / 2 * weight[..., None], sigma) / blur(weight, sigma)[..., None]


def local_correlation(first: Grey, second: Grey, sigma: float) -> npt.NDArray[np.float32]:
    """Gaussian-windowed normalised cross-correlation per voxel; near 0 where there is no texture."""
    a, b = first.astype(np.float32), second.astype(np.float32)
    mean_a, mean_b = blur(a, sigma), blur(b, sigma)
    covariance = blur(a * b, sigma) - mean_a * mean_b
    variances = (blur(a * a, sigma) - mean_a**2 + 20) * (blur(b * b, sigma) - mean_b**2 + 20)
    return np.asarray(covariance / np.sqrt(np.maximum(variances, 1e-6)), dtype=np.float32)


def blend_by_similarity(
    fixed: Grey, moving: Grey, candidates: Sequence[Flow], sigma: float, sharpness: float = 20.0
) -> Flow:
    """Candidates averaged per voxel with softmax weights of their local correlation."""
    score = np.stack([local_correlation(fixed, pull(moving, flow).astype(np.uint8), sigma) for flow in candidates])
    weight = np.exp(sharpness * (score - score.max(axis=0)))
    weight = np.stack([blur(w, sigma / 3) for w in weight / weight.sum(axis=0)])
    total: Flow = (weight[..., None] * np.stack(candidates)).sum(axis=0).astype(np.float32)
    return total


def averaged_flow(
    fixed: Grey, moving: Grey, trust: Weight, seed: Flow, sigma: float, contrasts: Sequence[tuple[float, int]]
) -> Flow:
    """Mean of consistent flows over contrasts, each as it is and mirrored either way."""
    flows = []
    for clip_limit, tiles in contrasts:
        a, b = (equalise(image, clip_limit, tiles) for image in (fixed, moving))
        flows.append(consistent_flow(a, b, trust, seed, sigma))
        for axis in (0, 1):
            flip = np.array([-1 if axis == 1 else 1, -1 if axis == 0 else 1], dtype=np.float32)
            first, second, weight, start = (np.ascontiguousarray(np.flip(v, axis)) for v in (a, b, trust, seed * flip))
            flow = consistent_flow(first, second, weight, start, sigma)
            flows.append(np.flip(flow, axis) * flip)
    return np.asarray(np.mean(flows, axis=0), dtype=np.float32)


def common_tissue(images: PairImages, ddf: Tensor) -> Weight:
    """(H, W) 0..1, where both images show tissue after warping, less a soft rim where one of them ends."""
    both = np.ascontiguousarray((images.fixed_mask * warp(images.moving_mask, ddf))[0, 0].cpu().numpy(), np.float32)
    return np.clip(2 * blur(both, images.diagonal / 150) - 1, 0, 1)


def similarity(images: PairImages, ddf: Tensor) -> float:
    """Mean local correlation over the fixed tissue after warping."""
    warped = to_bytes(warp(images.moving, ddf))
    score = local_correlation(to_bytes(images.fixed), warped, sigma=images.diagonal / 100)
    tissue = images.fixed_mask[0, 0].cpu().numpy() > 0.5
    return float(score[tissue].mean()) if tissue.any() else 0.0


class FlowRefinement:
    """Refines the residual field after the affine part of the chain; see the module's text.

    Args:
        consistency: voxels, smoothing of the first pass, per 1000 voxels of the tissue's diagonal.
        window: voxels, window of the local similarity, per 1000 voxels of the diagonal.
        final: voxels, smoothing of the second pass, per 1000 voxels of the diagonal.
        contrasts: (clip limit, tiles) of CLAHE for each part of the second pass; empty leaves the pass out.
        minimum_jacobian: the field is smoothed locally until its Jacobian determinant is above this.
    """

    def __init__(
        self,
        consistency: float = 11.0,
        window: float = 21.0,
        final: float = 5.5,
        contrasts: Sequence[tuple[float, int]] = ((2.0, 8), (4.0, 8), (2.0, 16)),
        minimum_jacobian: float = 0.1,
    ) -> None:
        self.consistency = consistency
        self.window = window
        self.final = final
        self.contrasts = [(float(clip), int(tiles)) for clip, tiles in contrasts]
        self.minimum_jacobian = minimum_jacobian

    def __call__(self, images: PairImages, estimate: Estimate) -> Estimate:
        """See ``Step``: the flow is seeded by the estimate and by its affine part alone."""
        start = perf_counter()
        scale = max(images.diagonal, 100.0) / 1000
        base = affine_to_ddf(estimate.affine, images.shape).to(estimate.ddf)
        fixed, moving = to_bytes(images.fixed), to_bytes(warp(images.moving, base))
        # estimate = compose(base, residual)  =>  base moves x + residual(x) to x + estimate(x)
        matched = ddf_to_flow(affine_residual(estimate.affine, estimate.ddf))
        trust = common_tissue(images, estimate.ddf)
        first = [
            consistent_flow(fixed, moving, trust, seed, self.consistency * scale)
            for seed in ([None, matched] if np.abs(matched).max() > 0.1 else [None])
        ]
        candidates = [*first, matched]
        flow = blend_by_similarity(fixed, moving, candidates, self.window * scale)
        if self.contrasts:
            flow = averaged_flow(fixed, moving, trust, flow, self.final * scale, self.contrasts)
        inside = blur(trust, self.window * scale)[..., None]
        flow = inside * flow + (1 - inside) * matched
        raw = compose(base, flow_to_ddf(flow))
        ddf = repair_folds(raw, self.minimum_jacobian)
        details = {
            "folding_before_repair": folding_share(raw, images.fixed_mask),
            "folding": folding_share(ddf, images.fixed_mask),
            "similarity_before": similarity(images, estimate.ddf),
            "similarity": similarity(images, ddf),
        }
        return replace(
            estimate,
            ddf=ddf,
            stages=(*estimate.stages, Stage("flow refinement", perf_counter() - start, details)),
        )
