"""Which wrong matches the filters of the hybrid method remove, and what that is worth to the field.

    python -m benchmarks.outliers
    python -m benchmarks.outliers --matches 300 --largest 8 --shares "30 50" --to out

True matches lie at random places of a square image under a random smooth field, with sub-pixel noise. Wrong ones are
added until they make up the given share: "anywhere" in the image, or "near", 1 to 5 % of the image's diagonal from
where they should be, which is beyond the filters' tolerance. The filters are those of ``HybridMatching`` with its
defaults. Prints Markdown; with ``--to`` also writes outliers.md and, a row a seed, outliers.csv.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import fire
import numpy as np
import pandas as pd
import torch
from torch import Tensor

from benchmarks.large_displacement import unit_field
from custom_components.common.errors import InputError
from custom_components.experiments import write_tables
from custom_components.fields import sample_at
from custom_components.inferers import HybridMatching, ScatteredInterpolation, SplineInterpolation
from custom_components.matching import PointPairs
from custom_components.matching.outliers import filter_pairs, isolation_forest, neighbourhood

KINDS = ("anywhere", "near")
NEAR = (0.01, 0.05)  # share of the diagonal by which a near one is wrong
NOISE = 0.5  # pixels, standard deviation of a true match along either axis
RIM = 0.05  # share of the side that is left out at the border, beyond most matches

Filter = Callable[[PointPairs], Tensor]


@dataclass(frozen=True)
class Row:
    """One filter on one set of matches.

    Attributes:
        fraction: of wrong matches, per cent.
        kind: of these; "none" without any.
        filter: its name; "none" keeps all.
        seed: of field and matches.
        precision: share of the kept matches that are true.
        recall: share of the true matches that are kept.
        spline_median: error over the pixels of the field that the kept matches give by ``SplineInterpolation``, pixels.
        spline_p95: its 95th percentile.
        linear_median: the same by Delaunay-linear ``ScatteredInterpolation``.
        linear_p95: likewise.
    """

    fraction: float
    kind: str
    filter: str
    seed: int
    precision: float
    recall: float
    spline_median: float
    spline_p95: float
    linear_median: float
    linear_p95: float


def contaminated(
    truth: Tensor, count: int, fraction: float, kind: str, seed: Sequence[int]
) -> tuple[PointPairs, Tensor]:
    """Matches under a known field, wrong ones among them.

    Args:
        truth: (1, 2, H, W) voxels, fixed -> moving.
        count: true matches.
        fraction: of wrong ones among all, in [0, 1).
        kind: of ``KINDS``.
        seed: non-negative numbers.

    Returns:
        The pairs in random order, and (N,) which of them are true.
    """
    rng = np.random.default_rng(seed)
    total = count + round(count * fraction / (1 - fraction))
    size = torch.tensor(truth.shape[2:], dtype=torch.float64) - 1
    fixed = torch.from_numpy(rng.uniform(size=(total, 2))) * size
    place = fixed + sample_at(truth.double(), fixed)
    true = torch.from_numpy(rng.permutation(total) < count)
    if kind == "near":
        diagonal, angle = float((size + 1).norm()), rng.uniform(0, 2 * np.pi, total)
        distance = rng.uniform(NEAR[0] * diagonal, NEAR[1] * diagonal, total)
        wrong = place + torch.from_numpy(np.stack([distance * np.cos(angle), distance * np.sin(angle)], axis=1))
    else:
        wrong = torch.from_numpy(rng.uniform(size=(total, 2))) * size
    noise = torch.from_numpy(rng.normal(scale=NOISE, size=(total, 2)))
    return PointPairs(torch.where(true[:, None], place + noise, wrong), fixed, torch.ones(total)), true


def filters_of(step: HybridMatching, diagonal: float) -> Mapping[str, Filter]:
    """No filter, each one alone and both, with a step's settings: functions pairs -> mask (N,)."""
    tolerance = step.tolerance * diagonal

    def forest(pairs: PointPairs) -> Tensor:
        return isolation_forest(pairs, contamination=step.contamination, seed=step.seed)

    def near(pairs: PointPairs) -> Tensor:
        return neighbourhood(pairs, tolerance=tolerance, rounds=step.rounds, seed=step.seed)

    def both(pairs: PointPairs) -> Tensor:
        return filter_pairs(
            pairs, tolerance=tolerance, contamination=step.contamination, rounds=step.rounds, seed=step.seed
        )[1]

    return {
        "none": lambda pairs: torch.ones(len(pairs), dtype=torch.bool),
        "isolation forest": forest,
        "neighbourhood": near,
        "both": both,
    }


def field_error(found: Tensor, truth: Tensor) -> tuple[float, float]:
    """Median and 95th percentile of the distance of two fields (1, 2, H, W), pixels; the rim is left out."""
    inner = [slice(round(RIM * side), round((1 - RIM) * side)) for side in truth.shape[2:]]
    distance = (found - truth).norm(dim=1)[0][inner[0], inner[1]].double().flatten()
    median, high = distance.quantile(torch.tensor([0.5, 0.95], dtype=torch.float64)).tolist()
    return median, high


def measure(side: int, count: int, largest: float, shares: Sequence[float], seed: int) -> list[Row]:
    """All filters on all mixtures of one random field.

    Args:
        side: pixels of the square image.
        count: true matches.
        largest: displacement, per cent of the side.
        shares: of wrong matches, per cent.
        seed: of field and matches.

    Raises:
        InputError: so large a displacement folds the image.
    """
    pixels, diagonal = largest / 100 * side, side * 2**0.5
    truth = (pixels * unit_field((side, side), pixels, (seed,))).float()
    rows = []
    for fraction in shares:
        for number, kind in enumerate(KINDS if fraction else ("none",)):
            pairs, true = contaminated(truth, count, fraction / 100, kind, (seed, round(100 * fraction), number))
            for name, keep_of in filters_of(HybridMatching([]), diagonal).items():
                keep = keep_of(pairs)
                kept, right = pairs.select(keep), int((keep & true).sum())
                displacement = kept.moving - kept.fixed
                errors = [
                    field_error(interpolation(kept.fixed, displacement, (side, side), diagonal), truth)
                    for interpolation in (SplineInterpolation(), ScatteredInterpolation())
                ]
                rows.append(Row(fraction, kind, name, seed, right / max(len(kept), 1), right / count, *sum(errors, ())))
    return rows


def _spread(values: pd.Series, digits: int) -> str:
    """Mean +- standard deviation over seeds."""
    return f"{values.mean():.{digits}f}" + (f" +- {values.std():.{digits}f}" if len(values) > 1 else "")


def markdown(rows: pd.DataFrame) -> str:
    """The table: a row a mixture and filter, mean +- standard deviation over seeds."""
    lines = [
        "| wrong, % | kind | filter | precision | recall | spline: median, px | 95th percentile "
        "| linear: median, px | 95th percentile |",
        "| --- |" + " --- |" * 8,
    ]
    columns = {"precision": 3, "recall": 3, "spline_median": 2, "spline_p95": 2, "linear_median": 2, "linear_p95": 2}
    for (fraction, kind, name), part in rows.groupby(["fraction", "kind", "filter"], sort=False):
        cells = [_spread(part[column], digits) for column, digits in columns.items()]
        lines.append(f"| {fraction:g} | {kind} | {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def outliers(
    matches: int = 1000,
    largest: float = 3.0,
    shares: str = "0 10 20 30 40 50",
    side: int = 512,
    seeds: int = 5,
    to: str | None = None,
) -> str:
    """Table of the filters; see the module.

    Args:
        matches: true ones.
        largest: displacement of the field, per cent of the side.
        shares: of wrong matches among all, per cent, divided by spaces.
        side: pixels of the square image.
        seeds: 0 to seeds - 1: so many fields.
        to: folder of the tables, made if absent; None writes none.

    Returns:
        Markdown.

    Raises:
        InputError: an option is out of its range, or so large a displacement folds the image.
    """
    if min(matches, side, seeds) < 1:
        raise InputError(f"matches, side and seeds are at least 1, got {matches}, {side} and {seeds}")
    chosen = _shares(shares)
    rows = [row for seed in range(seeds) for row in measure(side, matches, largest, chosen, seed)]
    table = pd.DataFrame([asdict(row) for row in rows])
    text = markdown(table)
    if to is not None:
        write_tables(Path(to), "outliers", table, text)
    return text


def _shares(text: str | float) -> list[float]:
    """The command line's shares: a single one comes as a number."""
    try:
        shares = [float(word) for word in str(text).split()]
    except ValueError:
        shares = []
    if not shares or not all(0 <= fraction < 100 for fraction in shares):
        raise InputError(f"shares are numbers from 0 to below 100, divided by spaces, got '{text}'")
    return shares


if __name__ == "__main__":
    try:
        fire.Fire(outliers)
    except InputError as error:
        sys.exit(f"error: {error}")
