"""What speaks for each of several proposed fields, place by place: the ground that ``VoteWeights`` decides on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from custom_components.inferers.ballot import SCALES, described, resized
from custom_components.inferers.flow_refinement import Flow, Grey, Moments, Weight, blur, pull
from custom_components.inferers.result import PairImages

WINDOWS = (0.007, 0.014, 0.028)  # shares of the diagonal
FINEST = 2.0  # voxels of the coarse grid, the first of them
FEATURES = (
    "correlation_fine", "correlation", "correlation_coarse", "distance", "sure", "sure_around", "apart", "bend",
    "motion",
)  # fmt: skip


def proposal_features(
    aligned: PairImages,
    flows: Sequence[Flow],
    sure: Sequence[Weight],
    pairs: Sequence[tuple[Grey, Grey]],
    trust: Weight,
) -> Weight:
    """Maps of every proposal on a grid on which the smallest window is two voxels wide, whatever the image's size.

    Args:
        aligned: the pair after its affine.
        flows: K of (H, W, 2) x, y, voxels.
        sure: K of (H, W), how well each agrees with itself there and back.
        pairs: fixed and moving image, (H, W) uint8, of each rendering.
        trust: (H, W), where both show tissue.

    Returns:
        (K, 9, h, w), see ``FEATURES``: mean local correlation over the renderings in three windows; distance of
        descriptors that are blind to the sign of contrast; agreement there and back, at the place and around it; and
        as logarithms of shares of the diagonal the distance from the median of the proposals, the unevenness, the
        length.
    """
    size = flows[0].shape[:2]
    factor = max(1, round(WINDOWS[0] * aligned.diagonal / FINEST))
    small = (-(-size[0] // factor), -(-size[1] // factor))
    scale = np.array([small[1] / size[1], small[0] / size[0]], np.float32)
    diagonal = aligned.diagonal / factor
    sigmas = [window * diagonal for window in WINDOWS]
    coarse = [resized(flow, small) * scale for flow in flows]
    median = np.median(np.stack(coarse), axis=0)
    rendered = [(resized(fixed, small), resized(moving, small)) for fixed, moving in pairs]
    ours = [[Moments.of(fixed, sigma) for fixed, _ in rendered] for sigma in sigmas]
    descriptors = [_descriptors(image, small) for image in (aligned.fixed, aligned.moving)]
    tissue = resized(trust, small)
    tissue_around = blur(tissue + np.float32(1e-3), sigmas[1])
    found = []
    for flow, agreed in zip(coarse, (resized(values, small) for values in sure), strict=True):
        warped = [np.asarray(pull(moving, flow), np.uint8) for _, moving in rendered]
        correlations = [
            np.mean([a.correlation(Moments.of(b, sigma)) for a, b in zip(row, warped, strict=True)], axis=0)
            for sigma, row in zip(sigmas, ours, strict=True)
        ]
        unlike = np.square(np.asarray(pull(descriptors[1], flow), np.float32) - descriptors[0]).mean(axis=2)
        gradients = [np.gradient(flow[..., axis]) for axis in (0, 1)]
        bend = np.sqrt(sum(part**2 for pair in gradients for part in pair))
        found.append([
            *correlations,
            np.log(blur(np.asarray(unlike, np.float32), sigmas[1]) + 1e-3),
            agreed,
            blur(agreed * tissue, sigmas[1]) / tissue_around,
            np.log(np.linalg.norm(flow - median, axis=2) / diagonal + 3e-4),
            np.log(blur(np.asarray(bend, np.float32), sigmas[1]) + 1e-3),
            np.log(np.linalg.norm(flow, axis=2) / diagonal + 1e-3),
        ])  # fmt: skip
    return np.asarray(found, np.float32)


def _descriptors(image: Tensor, small: tuple[int, int]) -> Weight:
    """(h, w, 8) MIND-SSC of (1, 1, H, W), described at twice the grid's resolution and averaged on it."""
    grey = np.ascontiguousarray(image[0, 0].cpu().numpy(), np.float32)
    grey = resized(grey, (min(2 * small[0], grey.shape[0]), min(2 * small[1], grey.shape[1])))
    maps = torch.cat([described(torch.from_numpy(grey)[None, None], dilation) for dilation in SCALES], dim=1)
    return np.asarray(resized(np.ascontiguousarray(maps[0].permute(1, 2, 0).numpy()), small), np.float32)
