"""What is each matcher worth, their union, and each filter? Landmark errors of the field that their matches give.

    python -m benchmarks.matcher_ablation --pairs split.csv --status validation --to out/matchers
    python -m benchmarks.matcher_ablation --pairs split.csv --status validation --to out/matchers \
        --config my_matchers.yaml --overrides "{'cotr_weights': 'runs/cotr/models/cotr.pt'}" --names "xfeat cotr"

The pairs lie roughly on each other, as after an affine. Every matcher alone goes through the same filters as the union;
of the union each filter is left out in turn. The config names the matchers below its key ``matchers``; matches are kept
in the folder, so the command may be stopped and repeated. Writes matcher_ablation.md and .csv.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import fire
import numpy as np
import pandas as pd
import torch
from monai.bundle import ConfigParser

from benchmarks.keypoint_precision import LIMITS, Prepared, judge, prepared
from benchmarks.outliers import filters_of
from custom_components.common.errors import InputError
from custom_components.experiments import write_tables
from custom_components.fields import sample_at
from custom_components.inferers import HybridMatching, ScatteredInterpolation, SplineInterpolation
from custom_components.inferers.interpolation import Interpolation
from custom_components.matching import CachedMatcher, Matcher, PointPairs
from custom_components.matching.outliers import merge_duplicates
from custom_components.metrics.tre import pair_metrics
from custom_components.pairs import select_pairs

INTERPOLATIONS: Mapping[str, Interpolation] = {"spline": SplineInterpolation(), "linear": ScatteredInterpolation()}
UNION = "union"
LEAST = 8  # matches below which a pair stays as it is, as in HybridMatching


def build_matchers(config: str, names: str | None, overrides: Mapping[str, Any]) -> dict[str, Matcher]:
    """The matchers below the key ``matchers`` of a file, by their names.

    Args:
        config: YAML.
        names: those that are wanted, divided by spaces; None takes all.
        overrides: other values for keys of the file.

    Raises:
        InputError: the file, its key or a name does not exist.
    """
    if not Path(config).is_file():
        raise InputError(f"config {config} does not exist")
    parser = ConfigParser()
    parser.read_config(config)
    parser.update(dict(overrides))
    known = list(parser.get("matchers", {}))
    wanted = known if names is None else names.split()
    unknown = [name for name in wanted if name not in known]
    if unknown or not wanted:
        raise InputError(f"{config} has the matchers {', '.join(known) or 'none'}, not '{' '.join(unknown)}'")
    return {name: parser.get_parsed_content(f"matchers::{name}") for name in wanted}


def carried(given: Prepared, pairs: PointPairs, interpolation: Interpolation) -> np.ndarray[Any, Any]:
    """Moving landmarks (N, 2) in the fixed image: looked up in a field on the moving grid, not through an inverse."""
    if len(pairs) < LEAST:
        return given.marks_moving
    field = interpolation(pairs.moving, pairs.fixed - pairs.moving, given.mask.shape, given.diagonal)
    moved = sample_at(field.double(), torch.from_numpy(given.marks_moving))
    return given.marks_moving + moved.numpy()


def table_row(given: Prepared, pairs: PointPairs, seconds: float) -> dict[str, float]:
    """Errors by each interpolation, number of matches and share of right ones."""
    found = judge(pairs, given.marks_fixed, given.marks_moving, given.mask, given.diagonal)
    row = {"matches": float(len(pairs)), "right": found.right[0], "seconds": seconds}
    for name, interpolation in INTERPOLATIONS.items():
        warped = carried(given, pairs, interpolation)
        errors = pair_metrics(given.marks_moving, warped, given.marks_fixed, given.diagonal)
        row |= {f"mean_{name}": errors.mean, f"median_{name}": errors.median}
    return row


def table_rows(given: Prepared, matchers: Mapping[str, Matcher]) -> list[dict[str, Any]]:
    """One pair by every matcher with both filters, then by the union with every choice of filters."""
    found, rows, total = [], [], 0.0
    filters = filters_of(HybridMatching([]), given.diagonal)
    for name, matcher in matchers.items():
        start = time.perf_counter()
        pairs = merge_duplicates(matcher(given.moving, given.fixed))
        seconds = time.perf_counter() - start
        total += seconds
        found.append(pairs)
        kept = pairs.select(filters["both"](pairs))
        rows.append({"matcher": name, "filter": "both", **table_row(given, kept, seconds)})
    union = merge_duplicates(PointPairs.concatenate(found))
    for choice, kept_by in filters.items():
        rows.append({"matcher": UNION, "filter": choice, **table_row(given, union.select(kept_by(union)), total)})
    return rows


def markdown(rows: pd.DataFrame) -> str:
    """A row for each matcher and filter; every pair counts alike, pairs without a judged match not in the precision."""
    titles = [f"{kind}, {name}" for name in INTERPOLATIONS for kind in ("AArTRE", "AMrTRE", "MMrTRE")]
    head = ["matcher", "filter", *titles, "matches", f"right at {LIMITS[0]:g}", "seconds a pair"]
    lines = [f"| {' | '.join(head)} |", "| --- " * len(head) + "|"]
    for (matcher, choice), part in rows.groupby(["matcher", "filter"], sort=False):
        cells = []
        for name in INTERPOLATIONS:
            mean, median = part[f"mean_{name}"], part[f"median_{name}"]
            cells += [f"{value:.5f}" for value in (mean.mean(), median.mean(), median.median())]
        cells += [f"{part['matches'].mean():.0f}", f"{part['right'].mean():.3f}", f"{part['seconds'].mean():.1f}"]
        lines.append(f"| {matcher} | {choice} | {' | '.join(cells)} |")
    return "\n".join(lines)


def matcher_ablation(
    pairs: str,
    to: str,
    config: str = "benchmarks/matchers.yaml",
    names: str | None = None,
    overrides: Mapping[str, Any] | None = None,
    status: str | None = None,
    working_size: int = 512,
    threads: int = 1,
) -> str:
    """The table; see the module.

    Args:
        pairs: pair table with landmarks of both images.
        to: folder of the matches and tables.
        config: YAML file of the matchers.
        names: of those to compare, divided by spaces.
        overrides: other values for keys of the file.
        status: keep the pairs with this value in column `status`.
        working_size: longest side in pixels.
        threads: of PyTorch.

    Returns:
        Markdown. Seconds are of this run: what was matched before is only read.

    Raises:
        InputError: no pair is left, or a file does not fit.
    """
    torch.set_num_threads(threads)
    chosen: Sequence[Any] = select_pairs(pairs, status=status)
    known = build_matchers(config, names, overrides or {})
    kept = {name: CachedMatcher(matcher, Path(to) / "matches" / name) for name, matcher in known.items()}
    rows = []
    for pair in chosen:
        rows += [{"pair": pair.id, **row} for row in table_rows(prepared(pair, working_size), kept)]
    table = pd.DataFrame(rows)
    text = markdown(table)
    write_tables(Path(to), "matcher_ablation", table, text)
    return text


if __name__ == "__main__":
    fire.Fire(matcher_ablation)
