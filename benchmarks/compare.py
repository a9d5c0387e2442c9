"""Set the landmark errors of a run beside a baseline that is computed in the same run.

    python -m benchmarks.compare --pairs pairs.csv --outputs out --status training
    python -m benchmarks.compare --pairs pairs.csv --outputs out --baseline xfeat+dis    # raw colour pairs

Prints Markdown. A pair without output counts as unregistered, as the challenge's scorer counts it.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import fire
import numpy as np

from benchmarks.baselines import baseline as baseline_named
from benchmarks.paired import Paired, compare_paired
from benchmarks.xfeat_baseline import Floats
from custom_components.common.arrays import Index
from custom_components.common.errors import InputError
from custom_components.metrics.tre import PairTRE, aggregate, pair_metrics
from custom_components.pairs import Pair, match_landmarks, read_image, read_landmarks, read_pairs, read_points
from custom_components.pairs.landmarks import LandmarkMatch
from custom_components.results.record import read_metrics

ROWS = ("AArTRE", "AMrTRE", "MArTRE", "MMrTRE", "AMxrTRE", "robustness")


@dataclass(frozen=True)
class Scores:
    """One method over all pairs: errors, share of folded pixels and seconds, in the order of the pairs."""

    name: str
    errors: tuple[PairTRE, ...]
    folding: tuple[float, ...]
    seconds: tuple[float, ...]


@dataclass(frozen=True)
class Landmarks:
    """Of one pair.

    Attributes:
        moving: (N, 2) row, col pixels, NaN in rows of the file that hold no point.
        fixed: (M, 2) of the fixed image.
        match: which rows are the same structure.
        diagonal: of the fixed image, pixels.
    """

    moving: Floats
    fixed: Floats
    match: LandmarkMatch
    diagonal: float

    @property
    def known(self) -> Index:
        """Rows of ``moving`` that hold a point."""
        return np.flatnonzero(np.isfinite(self.moving).all(axis=1))

    def score(self, warped: Floats) -> PairTRE:
        """Errors of the moving landmarks after they were carried to ``warped`` (N, 2), (row, col)."""
        rows, fixed = self.match.moving, self.fixed[self.match.fixed]
        return pair_metrics(self.moving[rows], warped[rows], fixed, self.diagonal)


def pair_landmarks(pair: Pair, fixed_shape: Sequence[int]) -> Landmarks:
    """Both landmark files of a pair, matched as the package does: by name where both have names, else row by row.

    What was left out is said on stderr.

    Raises:
        InputError: one is missing, or they have nothing in common.
    """
    if pair.moving_landmarks is None or pair.fixed_landmarks is None:
        raise InputError(f"pair {pair.id}: both landmark files are needed to compare; choose pairs with --status")
    diagonal = float(np.linalg.norm(fixed_shape))
    moving, fixed = read_landmarks(pair.moving_landmarks), read_landmarks(pair.fixed_landmarks, "fixed")
    match = match_landmarks(moving, fixed)
    for note in match.notes:
        print(f"pair {pair.id}: {note}", file=sys.stderr)
    return Landmarks(moving.points, fixed.points, match, diagonal)


def read_ours(folder: Path, moving: Floats) -> tuple[Floats, float, float]:
    """Warped points, folding share and seconds of one pair's output folder.

    Args:
        folder: `<outputs>/<id>`.
        moving: (N, 2) moving landmarks, (row, col), returned where the folder has none.

    Raises:
        InputError: the file has another number of rows than the moving landmarks, or metrics.json is damaged.
    """
    file, metrics = folder / "warped_landmarks.csv", read_metrics(folder, missing_ok=True)
    folding = metrics.get("folding_share")
    seconds = metrics.get("seconds")
    total = seconds.get("total") if isinstance(seconds, dict) else seconds
    warped = read_points(file) if file.is_file() else moving
    if len(warped) != len(moving):
        raise InputError(f"{file}: {len(warped)} rows, but the pair has {len(moving)} moving landmarks")
    return warped, _number(folding), _number(total)


def run_errors(pairs: Sequence[Pair], folder: Path) -> list[PairTRE]:
    """Landmark errors of a run, in the order of the pairs; a pair without output counts as unregistered."""
    found = []
    for pair in pairs:
        marks = pair_landmarks(pair, read_image(pair.fixed).shape[1:])
        found.append(marks.score(read_ours(folder / pair.id, marks.moving)[0]))
    return found


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else float("nan")


def tissue_case(pair: Pair) -> str:
    """Tissue case: columns `tissue` and `block` of the table, or the pair itself where it has neither."""
    return " ".join(filter(None, (pair.extra.get("tissue"), pair.extra.get("block")))) or f"pair {pair.id}"


def score(pairs: Sequence[Pair], outputs: Path | None, baseline: str) -> list[Scores]:
    """Scores of the baseline, and before it ours when `outputs` is given."""
    carry = baseline_named(baseline)
    rows: dict[str, list[tuple[PairTRE, float, float]]] = {"ours": [], baseline: []}
    for pair in pairs:
        moving, fixed = np.asarray(read_image(pair.moving)), np.asarray(read_image(pair.fixed))
        marks = pair_landmarks(pair, fixed.shape[1:])
        carried = carry(moving, fixed, marks.moving[marks.known])
        points = marks.moving.copy()
        points[marks.known] = carried.points
        rows[baseline].append((marks.score(points), carried.folding, carried.seconds))
        if outputs is not None:
            warped, folding, seconds = read_ours(outputs / pair.id, marks.moving)
            rows["ours"].append((marks.score(warped), folding, seconds))
    columns = {name: tuple(zip(*row, strict=True)) for name, row in rows.items() if row}
    return [Scores(name, errors, folding, seconds) for name, (errors, folding, seconds) in columns.items()]


def _mean(values: Sequence[float]) -> str:
    known = [value for value in values if np.isfinite(value)]
    return f"{np.mean(known):.4g}" if known else "-"


def markdown_scores(scores: Sequence[Scores]) -> str:
    """Table with a column for each method."""
    totals = [aggregate(list(method.errors)) for method in scores]
    lines = [
        "| | initial | " + " | ".join(method.name for method in scores) + " |",
        "| --- |" + " --- |" * (len(scores) + 1),
    ]
    for row in ROWS:
        initial = f"{totals[0].initial_AArTRE:.5f}" if row == "AArTRE" else ""
        cells = " | ".join(f"{getattr(total, row):.5f}" for total in totals)
        lines.append(f"| {row} | {initial} | {cells} |")
    folding = " | ".join(_mean([100 * fraction for fraction in method.folding]) for method in scores)
    seconds = " | ".join(_mean(method.seconds) for method in scores)
    return "\n".join([*lines, f"| folded, % | | {folding} |", f"| seconds a pair | | {seconds} |"])


def _paired_row(name: str, paired: Paired, scale: float) -> str:
    relative = 100 * paired.difference / scale if scale else float("nan")
    return (
        f"| {name} | {paired.difference:+.5f} ({relative:+.1f} %) | {paired.low:+.5f} to {paired.high:+.5f} "
        f"| {paired.pair_wins} / {paired.pair_losses} | {paired.case_wins} / {paired.case_losses} |"
    )


def markdown_paired(ours: Scores, theirs: Scores, cases: Sequence[str]) -> str:
    """Table of paired differences; below 0 is better for ours."""
    lines = [
        f"| ours - {theirs.name} | difference | 95 % over cases | pairs won / lost | cases won / lost |",
        "| --- | --- | --- | --- | --- |",
    ]
    for name, attribute in (("mean rTRE", "mean"), ("median rTRE", "median")):
        first = [getattr(error, attribute) for error in ours.errors]
        second = [getattr(error, attribute) for error in theirs.errors]
        lines.append(_paired_row(name, compare_paired(first, second, cases), float(np.mean(second))))
    return "\n".join(lines)


def compare(
    pairs: str, outputs: str | None = None, status: str | None = None, baseline: str = "dis", threads: int = 1
) -> str:
    """Table of both methods and of their paired differences.

    Args:
        pairs: pair table with landmarks of both images.
        outputs: output folder of a run; left out, only the baseline is scored.
        status: keep the pairs with this value in column `status`.
        baseline: `dis` (affine-aligned pairs of one size), `xfeat` or `xfeat+dis` (raw pairs).
        threads: for OpenCV.

    Returns:
        Markdown.

    Raises:
        InputError: no pair is left, or a file does not fit.
    """
    cv2.setNumThreads(threads)
    chosen = [pair for pair in read_pairs(Path(pairs)) if status is None or pair.extra.get("status") == status]
    if not chosen:
        raise InputError(f"{pairs}: no pair has status {status!r}")
    scores = score(chosen, Path(outputs) if outputs is not None else None, baseline)
    cases = [tissue_case(pair) for pair in chosen]
    parts = [f"{len(chosen)} pairs of {len(set(cases))} cases", markdown_scores(scores)]
    if not any(pair.extra.get("tissue") or pair.extra.get("block") for pair in chosen):
        parts[0] += " (no column tissue or block: pairs count as independent, intervals are too narrow)"
    if outputs is not None:
        done = sum((Path(outputs) / pair.id / "warped_landmarks.csv").is_file() for pair in chosen)
        parts[0] += f", {len(chosen) - done} without output (counted as unregistered)"
        ours, theirs = scores
        parts.append(markdown_paired(ours, theirs, cases))
    return "\n\n".join(parts)


if __name__ == "__main__":
    fire.Fire(compare)
