"""Expected error of any method's field: of how it compares with displaced alignments of the same two images.

The functions were fitted by ``benchmarks/general_error.py``: those of sections on pairs with landmarks, those of
volumes on known warps.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from scipy import ndimage
from torch import Tensor

from custom_components.fields import warp
from custom_components.inferers.displaced import RELATED_EVIDENCE, Comparison
from custom_components.inferers.error_model import ErrorModel, LogLinear
from custom_components.inferers.result import PairImages

MODEL = Path(__file__).with_name("general_error.json")
LEAST_GAP = 0.015  # share of the tissue's diagonal; masks of two sections differ by that along their outlines
GAP_DIAGONAL = 256  # voxels to which masks are shrunk for it


@cache
def general_model(dimensions: int) -> ErrorModel:
    """That of sections (2) or of volumes (3)."""
    parts = json.loads(MODEL.read_text(encoding="utf-8"))[str(dimensions)]
    return ErrorModel(*(LogLinear.of(**parts[name], known=RELATED_EVIDENCE) for name in ("expected", "bound")))


def general_error(found: Comparison, images: PairImages) -> Tensor:
    """(1, 2, *spatial) voxels: expected error and bound at each place of the fixed grid.

    Args:
        found: of ``displaced.compare``, with its maps.
        images: the pair.
    """
    count = len(images.shape)
    errors = general_model(count)(found.maps, found.tissue, images.diagonal)
    sides = tuple(part.stop - part.start for part in found.box)
    errors = F.interpolate(errors, sides, mode="bilinear" if count == 2 else "trilinear")
    around = [
        number
        for part, side in reversed(list(zip(found.box, images.shape, strict=True)))
        for number in (part.start, side - part.stop)
    ]
    return F.pad(errors, around, mode="replicate")


def without_counterpart(images: PairImages, ddf: Tensor) -> Tensor:
    """(1, 1, *spatial) bool: the fixed tissue that no moving tissue lies on, but for slivers along the outlines."""
    missing = (images.fixed_mask > 0.5) & (warp(images.moving_mask, ddf) < 0.5)
    if not bool(missing.any()):
        return missing
    shape, diagonal = images.shape, images.diagonal
    factor = min(1.0, GAP_DIAGONAL / diagonal)
    small = tuple(max(1, round(side * factor)) for side in shape)
    gaps = F.interpolate(missing.float(), small, mode="area")[0, 0].cpu().numpy() > 0.5
    radius = LEAST_GAP * diagonal * factor
    # an opening: what is narrower than twice the radius goes, also along the border
    core = ndimage.distance_transform_edt(np.pad(gaps, 1))[(slice(1, -1),) * gaps.ndim] > radius
    inner = ndimage.distance_transform_edt(~core) <= radius if core.any() else core
    wide = F.interpolate(torch.from_numpy(inner).float()[None, None], shape, mode="nearest") > 0.5
    return wide.to(missing.device) & missing
