"""What speaks for and against a field, place by place: the ground that its expected error is estimated on."""

from __future__ import annotations

import cv2
import numpy as np
from torch import Tensor

from custom_components.fields import warp
from custom_components.inferers.ballot import Ballot, ContrastFree
from custom_components.inferers.flow_refinement import Weight, blur, ddf_to_flow, local_correlation, to_bytes
from custom_components.inferers.renderings import local_deviation
from custom_components.inferers.result import PairImages

WINDOW = 0.014  # share of the diagonal
EVIDENCE = ("disagreement", "spread", "unsure", "unlike", "distance", "texture", "motion", "bend", "rim", "doubt")


def evidence_maps(
    aligned: PairImages, ballot: Ballot, residual: Tensor, unlike: Weight | None = None, doubt: Tensor | None = None
) -> dict[str, Weight]:
    """Maps (H, W) on the fixed grid; lengths are shares of the tissue's diagonal.

    Args:
        aligned: the pair after its affine.
        ballot: what was proposed for it.
        residual: (1, 2, H, W) voxels, the field after the affine.
        unlike: (H, W) ``ContrastFree.difference`` of the image that it warps, if known.
        doubt: (1, 1, H, W) voxels, what ``correction`` says of the error that it left, where it was asked.

    Returns:
        disagreement: of the proposals as they voted; spread: of all of them; unsure: 1 - agreement of the flows there
        and back; unlike: 1 - local correlation; distance: see ``ContrastFree``; texture: of both images, the
        lesser; motion: what the field adds to the affine; bend: how unevenly it does; rim: 1 at the tissue's outline,
        0 well inside; doubt, where it is given.
    """
    size, flow = aligned.diagonal, ddf_to_flow(residual)
    sigma = WINDOW * size
    warped = warp(aligned.moving, residual)
    unlike = ContrastFree(aligned.fixed).difference(warped) if unlike is None else unlike
    votes = ballot.shares * ballot.sure
    gradients = [np.gradient(flow[..., axis]) for axis in (0, 1)]
    textures = [blur(local_deviation(image[0, 0].cpu().numpy()), sigma) for image in (aligned.fixed, warped)]
    both = (aligned.fixed_mask * warp(aligned.moving_mask, residual))[0, 0].cpu().numpy() > 0.5
    depth = cv2.distanceTransform(both.astype(np.uint8), cv2.DIST_L2, 5)
    found = {
        "disagreement": blur(ballot.disagreement(flow), sigma) / size,
        "spread": blur(ballot.spread(flow), sigma) / size,
        "unsure": 1 - blur(votes.sum(axis=0), sigma),
        "unlike": 1 - local_correlation(to_bytes(aligned.fixed), to_bytes(warped), sigma),
        "distance": blur(unlike, sigma),
        "texture": np.minimum(*textures),
        "motion": blur(np.linalg.norm(flow, axis=2), sigma) / size,
        "bend": blur(np.sqrt(sum(part**2 for pair in gradients for part in pair)), sigma),
        "rim": np.clip(1 - depth / (0.05 * size), 0, 1),
    }
    if doubt is not None:
        found["doubt"] = doubt[0, 0].cpu().numpy() / size
    return {name: np.asarray(values, np.float32) for name, values in found.items()}
