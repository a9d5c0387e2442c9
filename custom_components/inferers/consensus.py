"""One field from all that is known of a pair: candidates of several methods and flows of several renderings vote.

Every method has stains that it fails on, and mostly other ones than its neighbour. Each candidate gives a field; dense
flow (DIS, see ``flow_refinement``) is started from each of them and from the affine alone, on each rendering, there and
back. A flow has no say where its two directions disagree. How the rest divide the vote is decided place by place by a
small network that learned from landmarks, see ``networks.vote_weights``. A robust spline is fitted to all votes. What
the images look like about each place then corrects it, see ``correction``. Where the result aligns the tissue worse
than the affine alone, by a measure that is blind to the sign of contrast, the affine is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import product
from pathlib import Path
from time import perf_counter
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from custom_components.common.errors import RegistrationError
from custom_components.fields import (
    affine_to_ddf,
    compose_affine,
    folding_share,
    nonrigid_part,
    repair_folds,
    warp,
)
from custom_components.inferers.ballot import Ballot, ContrastFree
from custom_components.inferers.correction import corrected
from custom_components.inferers.error_model import ErrorModel
from custom_components.inferers.evidence_maps import evidence_maps
from custom_components.inferers.flow_refinement import (
    Flow,
    Weight,
    blur,
    common_tissue,
    consistent_flow,
    ddf_to_flow,
    invert_flow,
    local_similarity,
    votes,
)
from custom_components.inferers.interpolation import Interpolation, SplineInterpolation
from custom_components.inferers.proposal_features import proposal_features
from custom_components.inferers.renderings import DEFAULT, render_pair
from custom_components.inferers.result import Estimate, PairImages, Stage, Step
from custom_components.networks.displacement_decoder import DisplacementDecoder
from custom_components.networks.vote_weights import VoteWeights

STAGE = "consensus"
LEAST = 0.1  # voxels; a field that is nowhere larger says nothing that the affine does not
WIDE = 0.03  # share of the diagonal: window of the comparison with the affine
Todo = TypeVar("Todo")
Done = TypeVar("Done")
SAME = 0.002  # contrast-free distance of images a tenth of a voxel apart; neighbouring sections are 20 times as far


class Consensus:
    """See the module's text.

    Args:
        candidates: steps, each taken from the estimate so far and from its affine part alone: large displacement is
            found from the one, and what the matches have wrong is not inherited from the other. One that refuses the
            pair has no vote.
        renderings: see ``renderings.render_pair``.
        interpolation: of all votes.
        weight: of a vote against the stiffness of the spline.
        vote_weights: divides the vote among the proposals: a network or its file; None goes by local correlation.
        decoder: corrects the common field: a network or its file; None leaves the field.
        correction: interpolation of what it corrects.
        window: of the local correlation, share of the tissue's diagonal.
        sharpness: of the choice between proposals by it.
        tolerance: voxels of disagreement there and back at which a flow's weight has fallen to 1/e.
        caution: power of the neighbourhood's agreement that weighs a flow further; where most of a neighbourhood
            disagrees the stains differ too much, and the places that agree do so by chance.
        stride: voxels between the votes of a flow.
        minimum_jacobian: the field is smoothed locally until its Jacobian determinant is above this.
        margin: share by which the contrast-free distance may exceed that of the affine before the affine is kept; None
            never asks.
        error_model: makes of the evidence for the field its expected error: a model or its file; None states none.
    """

    def __init__(
        self,
        candidates: Sequence[Step] = (),
        renderings: Sequence[str] = DEFAULT,
        interpolation: Interpolation | None = None,
        weight: float = 3.0,
        vote_weights: VoteWeights | str | Path | None = None,
        decoder: DisplacementDecoder | str | Path | None = None,
        correction: Interpolation | None = None,
        window: float = 0.014,
        sharpness: float = 20.0,
        tolerance: float = 2.0,
        caution: float = 2.0,
        stride: int = 8,
        minimum_jacobian: float = 0.1,
        margin: float | None = 0.02,
        error_model: ErrorModel | str | Path | None = None,
    ) -> None:
        self.candidates = list(candidates)
        self.renderings = list(renderings)
        self.interpolation = interpolation or SplineInterpolation(spacing=0.012, smoothness=3e-6, scale=0.006)
        self.weight = weight
        self.vote_weights = VoteWeights.read(vote_weights) if isinstance(vote_weights, str | Path) else vote_weights
        self.decoder = DisplacementDecoder.read(decoder) if isinstance(decoder, str | Path) else decoder
        self.correction = correction or self.interpolation
        self.window = window
        self.sharpness = sharpness
        self.tolerance = tolerance
        self.caution = caution
        self.stride = stride
        self.minimum_jacobian = minimum_jacobian
        self.margin = margin
        self.error_model = ErrorModel.read(error_model) if isinstance(error_model, str | Path) else error_model

    def __call__(self, images: PairImages, estimate: Estimate) -> Estimate:
        """See ``Step``; the estimate's own field is a proposal, and candidates start from it and from its affine alone.

        Single matches have no vote: they are a few voxels coarse, and what they know is in the field through them.
        """
        start = perf_counter()
        base = affine_to_ddf(estimate.affine, images.shape).to(estimate.ddf)
        aligned = replace(images, moving=warp(images.moving, base), moving_mask=warp(images.moving_mask, base))
        fields, refused = self._fields(images, estimate, base)
        ballot = self._ballot(aligned, fields, base)
        residual = self._fitted(aligned, ballot).to(base)
        doubt, moved = None, {}
        if self.decoder is not None:
            after, doubt = corrected(aligned, ballot, residual, self.decoder, self.correction, self.weight)
            lengths = (after - residual).norm(dim=1)[images.fixed_mask[:, 0] > 0.5]
            moved["correction"] = float(lengths.mean()) if len(lengths) else 0.0
            residual = repair_folds(after, self.minimum_jacobian)
        residual, kept, unlike = self._no_worse(aligned, residual)
        ddf = compose_affine(estimate.affine, residual)
        details = {
            "fields": len(fields), "candidates_refused": refused, "proposals": len(ballot.flows),
            "affine_kept": kept, "folding": folding_share(residual, images.fixed_mask),
            "similarity_before": local_similarity(images, estimate.ddf), "similarity": local_similarity(images, ddf),
            **moved,
        }  # fmt: skip
        error = None
        if self.error_model is not None:
            tissue = images.fixed_mask[0, 0].cpu().numpy() > 0.5
            error = self.error_model(
                evidence_maps(aligned, ballot, residual, unlike, doubt), tissue, images.diagonal
            ).to(base)
        done = Stage(STAGE, perf_counter() - start, details)
        return replace(estimate, ddf=ddf, error=error, stages=(*estimate.stages, done))

    def _fields(self, images: PairImages, estimate: Estimate, base: Tensor) -> tuple[list[Flow], int]:
        """What the estimate and the candidates leave after the affine, and how many of these refused the pair."""
        own = ddf_to_flow(nonrigid_part(estimate.affine, estimate.ddf))
        starts, fields, refused = [base], [], 0
        if np.abs(own).max() > LEAST:
            starts, fields = [base, estimate.ddf], [own]
        for step in self.candidates:
            try:
                found = [step(images, replace(estimate, ddf=start)) for start in starts]
            except RegistrationError:
                refused += 1
            else:
                fields += [ddf_to_flow(nonrigid_part(one.affine, one.ddf)) for one in found]
        return fields, refused

    def _ballot(self, aligned: PairImages, fields: Sequence[Flow], base: Tensor) -> Ballot:
        rendered = [render_pair(name, aligned, base) for name in self.renderings]
        pairs = [pair for pair in rendered if pair is not None]
        seeds = [(None, None), *((field, invert_flow(field)) for field in fields)]
        flows = side_by_side(
            lambda todo: consistent_flow(*todo[0], todo[1][0], self.tolerance, todo[1][1]), product(pairs, seeds)
        )
        flows += [(field, np.ones(field.shape[:2], np.float32)) for field in fields]
        found, sure = [flow for flow, _ in flows], [agreed for _, agreed in flows]
        if self.vote_weights is None:
            # by all renderings: by the grey values alone a wrong field wins where the contrast is inverted
            return Ballot.by_similarity(found, sure, pairs, self.window * aligned.diagonal, self.sharpness)
        features = proposal_features(aligned, found, sure, pairs, within_both(aligned))
        with torch.no_grad():
            shares = self.vote_weights.of_maps(torch.from_numpy(features))
        return Ballot.weighed(found, sure, shares.numpy())

    def _fitted(self, aligned: PairImages, ballot: Ballot) -> Tensor:
        """(1, 2, H, W) the spline through all votes, without folds."""
        trust = within_both(aligned)
        sigma = self.window * aligned.diagonal
        around_all = blur(trust + np.float32(1e-3), sigma)
        cast = []
        for flow, sure, share in zip(ballot.flows, ballot.sure, ballot.shares, strict=True):
            around = blur(sure * trust, sigma) / around_all
            cast.append(votes(flow, self.weight * trust * sure * around**self.caution * share, self.stride))
        points, displacements, weights = (torch.cat(parts) for parts in zip(*cast, strict=True))
        residual = self.interpolation(points, displacements, aligned.shape, aligned.diagonal, weights)
        # of the residual, since a mirrored section's affine turns all tissue over, and rightly so
        return repair_folds(residual, self.minimum_jacobian)

    def _no_worse(self, aligned: PairImages, residual: Tensor) -> tuple[Tensor, float, Weight | None]:
        """The field, fading to the affine where it is worse than that, and the share of the tissue where it is.

        Last what ``ContrastFree.difference`` says of the field, where that was asked and nothing had to fade.
        """
        if self.margin is None:
            return residual, 0.0, None
        sigma, likeness = WIDE * aligned.diagonal, ContrastFree(aligned.fixed)
        unlike = likeness.difference(warp(aligned.moving, residual))
        before, after = blur(likeness.difference(aligned.moving), sigma), blur(unlike, sigma)
        tissue = aligned.fixed_mask[0, 0].cpu().numpy() > 0.5
        worse = (after > np.maximum((1 + self.margin) * before, SAME)) & tissue
        if not worse.any():
            return residual, 0.0, unlike
        # fading over twice the window keeps the field smooth, whatever the outline of the worse part
        keep = 1 - blur(worse.astype(np.float32), sigma)
        faded = residual * torch.from_numpy(keep).to(residual)
        return repair_folds(faded, self.minimum_jacobian), float(worse.sum() / max(tissue.sum(), 1)), None


def within_both(aligned: PairImages) -> Weight:
    """``common_tissue`` of a pair whose moving image is warped."""
    return common_tissue(aligned, torch.zeros_like(aligned.fixed.expand(-1, 2, -1, -1)))


def side_by_side(work: Callable[[Todo], Done], todo: Iterable[Todo]) -> list[Done]:
    """The results in order, on as many threads as torch has: for what leaves Python to libraries that use one."""
    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        return list(pool.map(work, todo))
