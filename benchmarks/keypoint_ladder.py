"""The stages of a key-point guided training side by side, with DIS optical flow in the same run.

    python -m benchmarks.keypoint_ladder --pairs split.csv --status validation \
        --training bundles/keypoint_guided/models/training

Prints Markdown: errors of landmarks after registration with the weights of each stage, and how many correspondences its
encoder finds on these pairs and how many of them are right. Images are taken as aligned by an affine.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import fire
import numpy as np
import torch

from benchmarks.baselines import Baseline, baseline
from benchmarks.compare import tissue_case
from benchmarks.keypoint_precision import Found, evaluate
from benchmarks.large_displacement import carry_bundle, carry_nowhere
from benchmarks.paired import compare_paired
from custom_components.bundles import open_bundle
from custom_components.common.errors import InputError
from custom_components.common.weights import load_pretrained
from custom_components.engines import StagedTraining
from custom_components.metrics.tre import PairTRE, aggregate, pair_metrics, rtre
from custom_components.pairs import Pair, read_image, read_points, select_pairs

CONFIGS = Path("bundles/keypoint_guided/configs")
PERCENTILES = (75, 90, 95)


@dataclass(frozen=True)
class Rung:
    """One method over all pairs, in their order.

    Attributes:
        name: of the stage.
        errors: of the landmarks.
        points: (N,) rTRE of all landmarks of all pairs.
        folding: share of folded pixels.
        matches: of the stage's encoder; none for what has no encoder.
    """

    name: str
    errors: tuple[PairTRE, ...]
    points: tuple[float, ...]
    folding: tuple[float, ...]
    matches: tuple[Found, ...] = ()


def climb(name: str, method: Baseline, pairs: Sequence[Pair], matches: Sequence[Found] = ()) -> Rung:
    """Register all pairs.

    Raises:
        InputError: a landmark file is missing.
    """
    errors, points, folding = [], [], []
    for pair in pairs:
        if pair.moving_landmarks is None or pair.fixed_landmarks is None:
            raise InputError(f"pair {pair.id}: both landmark files are needed; choose pairs with --status")
        moving, fixed = (np.asarray(read_image(file)) for file in (pair.moving, pair.fixed))
        marks = [read_points(file) for file in (pair.moving_landmarks, pair.fixed_landmarks)]
        count = min(map(len, marks))
        carried = method(moving, fixed, marks[0])
        diagonal = float(np.linalg.norm(fixed.shape[1:]))
        errors.append(pair_metrics(marks[0][:count], carried.points[:count], marks[1][:count], diagonal))
        points.extend(rtre(carried.points[:count], marks[1][:count], diagonal).tolist())
        folding.append(carried.folding)
    return Rung(name, tuple(errors), tuple(points), tuple(folding), tuple(matches))


def markdown(rungs: Sequence[Rung], cases: Sequence[str], against: str) -> str:
    """A row for each method; the paired difference of the mean rTRE is to the method ``against``."""
    known = {rung.name: rung for rung in rungs}
    lines = [
        "| | AArTRE | AMrTRE | MMrTRE | " + " | ".join(f"{p}th percentile" for p in PERCENTILES)
        + f" | folded, % | mean rTRE - {against}, 95 % over cases | matches | right at 0.01 | at 0.005 |",
        "| --- |" + " --- |" * (8 + len(PERCENTILES)),
    ]  # fmt: skip
    reference = [error.mean for error in known[against].errors]
    for rung in rungs:
        total = aggregate(list(rung.errors))
        paired = compare_paired([error.mean for error in rung.errors], reference, cases)
        difference = "" if rung.name == against else f"{paired.low:+.5f} to {paired.high:+.5f}"
        lines.append(
            f"| {rung.name} | {total.AArTRE:.5f} | {total.AMrTRE:.5f} | {total.MMrTRE:.5f} | "
            + " | ".join(f"{np.percentile(rung.points, p):.4f}" for p in PERCENTILES)
            + f" | {100 * np.mean(rung.folding):.3f} | {difference} | {_matches(rung.matches)} |"
        )
    return "\n".join(lines)


def _matches(found: Sequence[Found]) -> str:
    if not any(one.judged for one in found):
        return " | | "
    right = np.nanmean([one.right for one in found], axis=0)
    return f"{np.mean([one.kept for one in found]):.0f} | " + " | ".join(f"{fraction:.3f}" for fraction in right)


def keypoint_ladder(
    pairs: str,
    training: str,
    status: str | None = None,
    stages: str | None = None,
    against: str = "dis",
    overrides: Mapping[str, object] | None = None,
    matches: bool = True,
    threads: int = 1,
) -> str:
    """Table of all stages.

    Args:
        pairs: pair table with both landmark files; images of one size, aligned by an affine.
        training: folder with ``<stage>.pt``, ``ckpt_dir`` of ``train.yaml``.
        status: of the table, only rows with this status.
        stages: names, separated by commas; left out, all of ``train.yaml`` whose weights are there.
        against: method that differences are taken to.
        overrides: of keys of ``inference.yaml``.
        matches: also let every stage's encoder find correspondences.
        threads: of OpenCV and PyTorch.

    Returns:
        Markdown.

    Raises:
        InputError: no weights in ``training``, or a file does not fit.
    """
    cv2.setNumThreads(threads)
    torch.set_num_threads(threads)
    chosen = select_pairs(pairs=pairs, status=status)
    trainer: StagedTraining = open_bundle(CONFIGS.parent, "train").parser().get_parsed_content("trainer")
    wanted = stages.split(",") if stages is not None else [s for s in trainer.stages if _file(training, s).is_file()]
    if not wanted:
        raise InputError(f"{training} has the weights of no stage; {', '.join(trainer.stages)} are looked for")
    rungs = [climb("initial", carry_nowhere, chosen), climb("dis", baseline("dis"), chosen)]
    for stage in wanted:
        settings = {"align": False, "margin": 0, "weights": str(_file(training, stage)), **(overrides or {})}
        method = partial(carry_bundle, parser=open_bundle(CONFIGS.parent, "inference", **settings).parser())
        found: list[Found] = []
        if matches:
            matcher = trainer.learned_matcher(load_pretrained(trainer.network, _file(training, stage)).eval())
            found = [evaluate(matcher, pair, 512) for pair in chosen]
        rungs.append(climb(stage, method, chosen, found))
    cases = [tissue_case(pair) for pair in chosen]
    return f"{len(chosen)} pairs of {len(set(cases))} cases\n\n" + markdown(rungs, cases, against)


def _file(training: str, stage: str) -> Path:
    return Path(training) / f"{stage}.pt"


if __name__ == "__main__":
    fire.Fire(keypoint_ladder)
