"""Are pairs of which one section lacks tissue registered worse? Runs over all pairs and those that overlap least.

    python -m benchmarks.missing_tissue --pairs pairs.csv --outputs "ours=out/ours patch=out/patch" --status training

The overlap of a pair is that of its tissue masks as the images lie, intersection over union, so the images have to be
aligned by an affine already. Prints Markdown: means of the runs, and the pairs with the least overlap by name.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import fire
import numpy as np

from benchmarks.compare import run_errors
from custom_components.common.errors import InputError
from custom_components.experiments import parse_options
from custom_components.metrics.tre import PairTRE, aggregate
from custom_components.pairs import Pair, read_image, select_pairs
from custom_components.transforms import tissue_mask

ROWS = ("AArTRE", "AMrTRE", "robustness")


def overlap(pair: Pair) -> float:
    """Intersection over union of the tissue in both images, 0..1.

    Raises:
        InputError: the images differ in size, or one shows no tissue.
    """
    masks = [tissue_mask(read_image(file).numpy(), file.name) for file in (pair.moving, pair.fixed)]
    if masks[0].shape != masks[1].shape:
        raise InputError(f"pair {pair.id}: images of one size are needed, got {masks[0].shape} and {masks[1].shape}")
    return float((masks[0] & masks[1]).sum() / (masks[0] | masks[1]).sum())


def markdown(errors: Mapping[str, Sequence[PairTRE]], overlaps: Sequence[float], fraction: float) -> str:
    """Table of the runs over all pairs and over the ``share`` that overlaps least."""
    least = np.argsort(overlaps)[: max(round(fraction * len(overlaps)), 1)]
    lines = ["| | pairs | initial | " + " | ".join(errors) + " |", "| --- | --- | --- |" + " --- |" * len(errors)]
    for title, chosen in (("all", range(len(overlaps))), ("least overlap", least)):
        totals = {name: aggregate([run[index] for index in chosen]) for name, run in errors.items()}
        for row in ROWS:
            initial = f"{next(iter(totals.values())).initial_AArTRE:.5f}" if row == "AArTRE" else ""
            cells = " | ".join(f"{getattr(total, row):.5f}" for total in totals.values())
            lines.append(f"| {title}: {row} | {len(chosen)} | {initial} | {cells} |")
    return "\n".join(lines)


def missing_tissue(pairs: str, outputs: str, status: str | None = None, fraction: float = 0.2) -> str:
    """Table of the runs, then the pairs that overlap least.

    Args:
        pairs: pair table with landmarks of both images, aligned by an affine.
        outputs: ``NAME=folder`` divided by spaces.
        status: of the table, only rows with this status.
        fraction: of the pairs that count as those with missing tissue.

    Returns:
        Markdown.

    Raises:
        InputError: a table, image or folder is wrong.
    """
    runs = {name: Path(str(folder)) for name, folder in parse_options(outputs).items()}
    absent = [str(folder) for folder in runs.values() if not folder.is_dir()]
    if not runs or absent:
        raise InputError(f"outputs names folders of runs; {absent[0] if absent else 'none'} is there")
    chosen = select_pairs(pairs, status=status)
    overlaps = [overlap(pair) for pair in chosen]
    errors = {name: run_errors(chosen, folder) for name, folder in runs.items()}
    lines = [markdown(errors, overlaps, fraction), "", "| pair | overlap | " + " | ".join(runs) + " |"]
    lines.append("| --- | --- |" + " --- |" * len(runs))
    for index in np.argsort(overlaps)[: max(round(fraction * len(chosen)), 1)]:
        cells = " | ".join(f"{run[index].mean:.5f}" for run in errors.values())
        lines.append(f"| {chosen[index].id} | {overlaps[index]:.3f} | {cells} |")
    return "\n".join(lines)


if __name__ == "__main__":
    try:
        fire.Fire(missing_tissue)
    except InputError as error:
        sys.exit(f"error: {error}")
