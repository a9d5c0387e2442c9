"""Corrects a field place by place by what the images look like about it and where the proposals lie.

Both are planes over the displacements about the place, which a learned decoder reads.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from custom_components.fields import compose, resize, warp
from custom_components.inferers.ballot import Ballot, ContrastFree
from custom_components.inferers.flow_refinement import blur
from custom_components.inferers.interpolation import Interpolation
from custom_components.inferers.local_costs import local_costs
from custom_components.inferers.result import PairImages
from custom_components.inferers.vote_planes import vote_planes
from custom_components.networks.displacement_decoder import DisplacementDecoder

FINEST = 544  # voxels of the longest side, at which the decoder was trained; larger images are shrunk to it
EVERY = 2  # cells between the places that are corrected
BATCH = 1024  # places at a time
AROUND = 0.03  # share of the diagonal: the neighbourhood that tells whether images look the same
ALIKE = (0.02, 0.06)  # contrast-free distance; one texture has .005, neighbouring sections have .11 to .21
LOST = 0.05  # share of the diagonal: the spread where nothing can be compared


def corrected(
    aligned: PairImages,
    ballot: Ballot,
    residual: Tensor,
    decoder: DisplacementDecoder,
    interpolation: Interpolation,
    weight: float,
) -> tuple[Tensor, Tensor]:
    """A field after its correction.

    Args:
        aligned: the pair after its affine.
        ballot: what was proposed for it.
        residual: (1, 2, H, W) voxels, the field after the affine.
        decoder: what reads the costs.
        interpolation: of the corrections.
        weight: of a correction of usual certainty against the stiffness of the interpolation.

    Returns:
        The new residual, which may fold, and (1, 1, H, W) voxels: the decoder's spread of the error that is left.
        Without common tissue the field stays, and its spread is a large one.
    """
    small, factor = shrunk(aligned, residual)
    costs = local_costs(small, EVERY)
    points, here = costs.on_tissue()
    if len(points) == 0:
        return residual, torch.full_like(residual[:, :1], LOST * aligned.diagonal)
    here = with_votes(here, ballot, residual, points, factor)
    means = [level.mean(0, keepdim=True) for level in here]
    found = []
    with torch.no_grad():
        for index in torch.arange(len(points)).split(BATCH):
            part = [level[index] for level in here]
            found.append(decoder(part, [mean.expand_as(level) for mean, level in zip(means, part, strict=True)]))
    displacements, spread = (torch.cat(parts) for parts in zip(*found, strict=True))
    displacements = displacements * _wanting(small, points)
    weights = weight * spread.median() / spread
    step = interpolation(points.double(), displacements.double(), small.shape, small.diagonal, weights.double())
    whole = resize(step.to(residual), aligned.shape)
    maps = torch.full(costs.tissue.shape, float(spread.max()))
    maps[costs.tissue > 0.5] = spread
    spreads = F.interpolate(maps[None, None], aligned.shape, mode="bilinear", align_corners=False) / factor
    return compose(residual, whole), spreads.to(residual)


def _wanting(small: PairImages, points: Tensor) -> Tensor:
    """(N, 1) 0 where the images look the same already, as two scans of one glass do, 1 where sections differ.

    There dense flow is right to a tenth of a voxel, which landmarks by hand can't teach.
    """
    unlike = blur(ContrastFree(small.fixed).difference(small.moving), AROUND * small.diagonal)
    row, col = points.round().long().clamp(min=0).unbind(1)
    here = torch.from_numpy(unlike)[row.clamp(max=unlike.shape[0] - 1), col.clamp(max=unlike.shape[1] - 1)]
    return ((here - ALIKE[0]) / (ALIKE[1] - ALIKE[0])).clamp(0, 1)[:, None]


def with_votes(
    costs: Sequence[Tensor], ballot: Ballot, residual: Tensor, points: Tensor, factor: float
) -> tuple[Tensor, ...]:
    """Costs (N, C, K, K) a level at points (N, 2) of the decoder's grid, the planes of ``vote_planes`` after them."""
    planes = vote_planes(ballot, residual, (points + 0.5) / factor - 0.5, factor)
    return tuple(torch.cat(both, dim=1) for both in zip(costs, planes, strict=True))


def shrunk(aligned: PairImages, residual: Tensor) -> tuple[PairImages, float]:
    """The pair as the field aligns it, on the CPU, at the decoder's size, and by what factor that is smaller."""
    factor = min(1.0, FINEST / max(aligned.shape))
    moving, other = (warp(image, residual.to(image)) for image in (aligned.moving, aligned.moving_mask))
    tensors = [aligned.fixed, moving, aligned.fixed_mask, other]
    if factor < 1:
        shape = tuple(max(round(side * factor), 1) for side in aligned.shape)
        tensors = [
            F.interpolate(image, shape, mode="bilinear", align_corners=False, antialias=True) for image in tensors
        ]
    fixed, moving, own, other = (image.float().cpu() for image in tensors)
    return replace(aligned, fixed=fixed, moving=moving, fixed_mask=own, moving_mask=other), factor
