"""The baselines by name: each carries moving points into the fixed image."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.dis_baseline import dis_ddf, grey
from benchmarks.xfeat_baseline import Floats, apply_affine, load_xfeat, warp_to_fixed, xfeat_affine
from custom_components.fields import folding_share, sample_at


@dataclass(frozen=True)
class TransformReport:
    """Moving points in the fixed image.

    Attributes:
        points: (N, 2) float64, (row, col), pixels of the fixed image.
        folding: share of fixed pixels where the field fixed -> moving folds.
        seconds: for the registration, reading and measuring left out.
    """

    points: Floats
    folding: float
    seconds: float


# Takes moving image (C, H, W), fixed image (C, H', W') and moving points (N, 2), (row, col).
Baseline = Callable[[NDArray[np.generic], NDArray[np.generic], Floats], TransformReport]


def _move(flow: torch.Tensor, points: Floats) -> Floats:
    moved: Floats = points + sample_at(flow.double(), torch.from_numpy(points)).numpy()
    return moved


def carry_dis(moving: NDArray[np.generic], fixed: NDArray[np.generic], points: Floats) -> TransformReport:
    """DIS optical flow alone, for images of one size that are aligned by an affine already."""
    start = time.perf_counter()
    moving_grey, fixed_grey = grey(moving), grey(fixed)
    to_fixed = dis_ddf(moving_grey=fixed_grey, fixed_grey=moving_grey)  # on the moving grid
    seconds = time.perf_counter() - start
    return TransformReport(_move(to_fixed, points), float(folding_share(dis_ddf(moving_grey, fixed_grey))), seconds)


def carry_xfeat(
    moving: NDArray[np.generic],
    fixed: NDArray[np.generic],
    points: Floats,
    *,
    align: Callable[[NDArray[np.generic], NDArray[np.generic]], Floats],
    flow: bool,
) -> TransformReport:
    """XFeat affine, and DIS after it when `flow`; without an affine the points stay where they are."""
    start = time.perf_counter()
    try:
        matrix = align(moving, fixed)
    except ValueError:
        return TransformReport(points, 0.0, time.perf_counter() - start)
    aligned = apply_affine(matrix, points)
    if not flow:
        return TransformReport(aligned, 0.0, time.perf_counter() - start)
    fixed_grey = grey(fixed)
    moving_grey = warp_to_fixed(grey(moving), matrix, (fixed_grey.shape[0], fixed_grey.shape[1]))
    to_fixed = dis_ddf(moving_grey=fixed_grey, fixed_grey=moving_grey)
    seconds = time.perf_counter() - start
    # The affine does not fold, so the whole field folds where the flow does.
    folding = float(folding_share(dis_ddf(moving_grey, fixed_grey)))
    return TransformReport(_move(to_fixed, aligned), folding, seconds)


NAMES = ("dis", "xfeat", "xfeat+dis")


def baseline(name: str) -> Baseline:
    """Baseline by its name, one of `NAMES`.

    Raises:
        ValueError: there is none of that name.
    """
    if name == "dis":
        return carry_dis
    if name in NAMES:
        align = partial(xfeat_affine, load_xfeat())
        return partial(carry_xfeat, align=align, flow=name == "xfeat+dis")
    raise ValueError(f"baseline {name!r} is none of {', '.join(NAMES)}")
