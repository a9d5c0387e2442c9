"""How many matches a matcher keeps on roughly aligned pairs with landmarks, how many are right, and where they lie.

    python -m benchmarks.keypoint_precision --pairs pairs.csv --status training
    python -m benchmarks.keypoint_precision --pairs pairs.csv \
        --config bundles/hybrid_matching/configs/inference.yaml --key fine_matcher \
        --overrides "{'matcher_weights': None, 'device': 'cpu'}"

Prints Markdown. The truth at a match is the thin-plate spline of the landmarks' displacements, so only matches within
the landmarks' convex hull are judged; how many of them no displacement at all would make right stands beside.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fire
import numpy as np
import torch
from monai.bundle import ConfigParser
from monai.transforms import Compose
from numpy.typing import NDArray
from scipy.interpolate import RBFInterpolator
from scipy.spatial import Delaunay, QhullError, cKDTree
from torch import Tensor

from custom_components.common.errors import InputError
from custom_components.fields import Grid, apply_matrix
from custom_components.matching import DeepKeypointMatcher, Matcher, PointPairs, XFeatDescriptor
from custom_components.pairs import Pair, read_pairs, read_points
from custom_components.transforms import CommonPadd, ReadPaird, StainGreyd, WorkingSized

Floats = NDArray[np.float64]
SIDES = ("moving", "fixed")
LIMITS = (0.01, 0.005)  # share of the diagonal within which a match is right
REACH = 0.05  # share of the diagonal: tissue nearer than this to a match counts as covered
LANDMARK_NOISE = 1.0  # smoothing of the spline, square voxels


@dataclass(frozen=True)
class Found:
    """Matches of one pair.

    Attributes:
        kept: how many.
        judged: those within the landmarks' hull.
        right: share of the judged ones within each of ``LIMITS``; NaN where none is judged.
        still: the same with no displacement in place of the matches'.
        covered: share of the fixed tissue near a match.
        seconds: of the matcher.
    """

    kept: int
    judged: int
    right: tuple[float, ...]
    still: tuple[float, ...]
    covered: float
    seconds: float


def landmark_displacement(fixed: Floats, moving: Floats, points: Floats) -> tuple[Floats, NDArray[np.bool_]]:
    """The landmarks' displacement, interpolated to points.

    Args:
        fixed: (N, 2) landmarks, voxels.
        moving: (N, 2), row i the same structure.
        points: (M, 2) of the fixed image.

    Returns:
        (M, 2) voxels, fixed -> moving, and (M,) which points lie within the landmarks' convex hull; none does where
        they span no area.
    """
    fixed, unique = np.unique(fixed, axis=0, return_index=True)
    try:
        inside = Delaunay(fixed).find_simplex(points) >= 0
    except (QhullError, ValueError):
        return np.zeros_like(points), np.zeros(len(points), dtype=bool)
    displacement = np.zeros_like(points)
    if inside.any():
        spline = RBFInterpolator(fixed, moving[unique] - fixed, smoothing=LANDMARK_NOISE)
        displacement[inside] = spline(points[inside])
    return displacement, inside


def judge(
    pairs: PointPairs, fixed: Floats, moving: Floats, mask: NDArray[np.bool_], diagonal: float, seconds: float = 0.0
) -> Found:
    """Set matches beside landmarks of the same grid.

    Args:
        pairs: matches, voxels.
        fixed: (N, 2) landmarks, voxels.
        moving: (N, 2).
        mask: (H, W) tissue of the fixed image.
        diagonal: voxels, that ``LIMITS`` and ``REACH`` are shares of.
        seconds: passed on.
    """
    where, there = pairs.fixed.double().numpy(), pairs.moving.double().numpy()
    truth, inside = landmark_displacement(fixed, moving, where)
    error = np.linalg.norm(there - where - truth, axis=1)[inside] / diagonal
    initial = np.linalg.norm(truth, axis=1)[inside] / diagonal

    def shares(distance: Floats) -> tuple[float, ...]:
        return tuple(float((distance <= limit).mean()) if len(distance) else float("nan") for limit in LIMITS)

    tissue = np.argwhere(mask)[::17]  # a sample is enough
    near = cKDTree(where).query(tissue)[0] <= REACH * diagonal if len(where) and len(tissue) else np.zeros(1)
    return Found(len(pairs), int(inside.sum()), shares(error), shares(initial), float(near.mean()), seconds)


@dataclass(frozen=True)
class Prepared:
    """A pair on one working grid.

    Attributes:
        moving: (1, 1, H, W) grey.
        fixed: likewise.
        marks_moving: (N, 2) landmarks, voxels.
        marks_fixed: (N, 2).
        mask: (H, W) tissue of the fixed image.
    """

    moving: Tensor
    fixed: Tensor
    marks_moving: Floats
    marks_fixed: Floats
    mask: NDArray[np.bool_]

    @property
    def diagonal(self) -> float:
        """Of the grid, voxels."""
        return float(np.linalg.norm(self.mask.shape))


def prepared(pair: Pair, working_size: int) -> Prepared:
    """Prepare a pair as the bundles do.

    Raises:
        InputError: a landmark file is missing, or an image can't be prepared.
    """
    if pair.moving_landmarks is None or pair.fixed_landmarks is None:
        raise InputError(f"pair {pair.id}: both landmark files are needed; choose pairs with --status")
    prepare = Compose([ReadPaird(), WorkingSized(SIDES, working_size), StainGreyd(SIDES), CommonPadd(SIDES, margin=0)])
    data = prepare({"pair": pair})
    marks = []
    for side, file in zip(SIDES, (pair.moving_landmarks, pair.fixed_landmarks), strict=True):
        working = data[f"working_{side}"]
        marks.append(apply_matrix(working.meta["file_grid"].to(Grid.of(working)), read_points(file)))
    count = min(len(marks[0]), len(marks[1]))
    images = [data[f"working_{side}"].as_tensor()[None] for side in SIDES]
    mask = data["mask_fixed"].as_tensor()[0].numpy() > 0.5
    return Prepared(images[0], images[1], marks[0][:count], marks[1][:count], mask)


def evaluate(matcher: Matcher, pair: Pair, working_size: int) -> Found:
    """Prepare a pair, match and judge it.

    Raises:
        InputError: see ``prepared``.
    """
    given = prepared(pair, working_size)
    start = time.perf_counter()
    pairs = matcher(given.moving, given.fixed)
    seconds = time.perf_counter() - start
    return judge(pairs, given.marks_fixed, given.marks_moving, given.mask, given.diagonal, seconds)


def configured(config: str, key: str, overrides: Mapping[str, Any]) -> Matcher:
    """The matcher that ``key`` of a YAML or JSON file describes, other keys of it replaced by ``overrides``.

    Raises:
        InputError: the file or the key does not exist.
    """
    if not Path(config).is_file():
        raise InputError(f"config {config} does not exist")
    parser = ConfigParser()
    parser.read_config(config)
    parser.update(dict(overrides))
    if key not in parser:
        raise InputError(f"config {config} has no key '{key}'")
    matcher: Matcher = parser.get_parsed_content(key)
    return matcher


def markdown(names: Sequence[str], found: Sequence[Found]) -> str:
    """A row for each pair and one for all, in which every pair counts alike."""
    limits = " | ".join(f"right at {limit:g} | unmoved" for limit in LIMITS)
    lines = [
        f"| pair | kept | judged | {limits} | tissue covered | seconds |",
        "| --- |" + " --- |" * (4 + 2 * len(LIMITS)),
    ]
    for name, one in zip(names, found, strict=True):
        lines.append(_row(name, one.kept, one.judged, one.right, one.still, one.covered, one.seconds))
    columns = [
        [np.nanmean([getattr(one, field)[i] for one in found] or [np.nan]) for i in range(len(LIMITS))]
        if any(one.judged for one in found)
        else [np.nan] * len(LIMITS)
        for field in ("right", "still")
    ]
    mean = {name: float(np.mean([getattr(one, name) for one in found])) for name in ("kept", "judged")}
    more = {name: float(np.mean([getattr(one, name) for one in found])) for name in ("covered", "seconds")}
    lines.append(_row("mean", mean["kept"], mean["judged"], columns[0], columns[1], more["covered"], more["seconds"]))
    return "\n".join(lines)


def _row(
    name: str,
    kept: float,
    judged: float,
    right: Sequence[float],
    still: Sequence[float],
    covered: float,
    seconds: float,
) -> str:
    shares = " | ".join(f"{a:.3f} | {b:.3f}" for a, b in zip(right, still, strict=True))
    return f"| {name} | {kept:.0f} | {judged:.0f} | {shares} | {covered:.2f} | {seconds:.1f} |"


def keypoint_precision(
    pairs: str,
    config: str | None = None,
    key: str = "matcher",
    overrides: Mapping[str, Any] | None = None,
    status: str | None = None,
    every: int = 1,
    working_size: int = 512,
    threads: int = 1,
) -> str:
    """Table of matches and precision, pair by pair.

    Args:
        pairs: pair table with landmarks of both images, roughly aligned.
        config: YAML file that describes the matcher; left out, deep keypoints with XFeat features.
        key: of the matcher in it.
        overrides: other values for keys of the file.
        status: keep the pairs with this value in column `status`.
        every: of those take each n-th.
        working_size: longest side in pixels.
        threads: of PyTorch.

    Returns:
        Markdown.

    Raises:
        InputError: no pair is left, or a file does not fit.
    """
    torch.set_num_threads(threads)
    chosen = [pair for pair in read_pairs(pairs) if status is None or pair.extra.get("status") == status][::every]
    if not chosen:
        raise InputError(f"{pairs}: no pair has status {status!r}")
    default = DeepKeypointMatcher(XFeatDescriptor())
    matcher = default if config is None else configured(config, key, overrides or {})
    found = [evaluate(matcher, pair, working_size) for pair in chosen]
    return markdown([pair.id for pair in chosen], found)


if __name__ == "__main__":
    fire.Fire(keypoint_precision)
