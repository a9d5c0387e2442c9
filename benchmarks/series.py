"""Landmark errors of a series by the ways of registering it and by the reference.

    python -m benchmarks.series --images sections.csv --to out
    python -m benchmarks.series --images sections.csv --to out --references "HE" --modes "neighbours both"

Every section of the table has a landmark file. Prints Markdown: the mean over the sections of their mean and median
rTRE, the reference left out. All runs share one folder, so that each pair is registered once, and a run that was
stopped goes on.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

import fire
import numpy as np

from custom_components.common.errors import InputError
from custom_components.series import align_series, read_sections
from custom_components.series.routes import MODES

Records = Mapping[tuple[str, str], Mapping[str, Any]]


def cell(records: Sequence[Mapping[str, Any]]) -> str:
    """Mean and median rTRE of one or several runs, and how many sections have no result."""
    scored = [record["scored"] for record in records]
    lost = sum(record["failed"] for record in records)
    text = " / ".join(f"{np.mean([s[name] for s in scored]):.5f}" for name in ("AArTRE", "AMrTRE"))
    return text + (f" ({lost} lost)" if lost else "")


def markdown(records: Records, references: Sequence[str], modes: Sequence[str], chosen: str) -> str:
    """Table of the runs, a row a reference.

    Args:
        records: series.json of each (reference, mode).
        references: ids.
        modes: names.
        chosen: the reference that the rule takes.
    """
    head = ["reference", "initial", *(mode.replace("_", " ") for mode in modes)]
    lines = ["| " + " | ".join(head) + " |", "| --- |" + " --- |" * (len(modes) + 1)]
    for reference in references:
        row = [records[reference, mode] for mode in modes]
        name = f"{reference}, chosen" if reference == chosen else reference
        cells = [f"{row[0]['scored']['initial_AArTRE']:.5f}", *(cell([record]) for record in row)]
        lines.append("| " + " | ".join([name, *cells]) + " |")
    means = [cell([records[reference, mode] for reference in references]) for mode in modes]
    lines.append("| " + " | ".join(["mean", "", *means]) + " |")
    counts = [f"{np.mean([len(records[r, mode]['pairs']) for r in references]):.1f}" for mode in modes]
    return "\n".join([*lines, "| " + " | ".join(["pairs registered", "", *counts]) + " |"])


def series(
    images: str,
    to: str,
    references: str | None = None,
    modes: str = " ".join(MODES),
    bundle: str = "bundles/hybrid_matching",
    **settings: Any,
) -> str:
    """The table.

    Args:
        images: table of sections with landmarks.
        to: folder of the runs.
        references: ids divided by spaces; None takes every section once.
        modes: names divided by spaces.
        bundle: folder of the bundle that registers the pairs, or a config file.
        settings: other values for keys of its config.

    Returns:
        Markdown: mean / median rTRE.

    Raises:
        InputError: a section has no landmarks, or the table or an argument is wrong.
    """
    sections = read_sections(images)
    bare = [section.id for section in sections if section.landmarks is None]
    if bare:
        raise InputError(f"{images}: {bare[0]} has no landmarks; every section needs them here")
    names = str(references).split() if references is not None else [section.id for section in sections]
    settings = {"report": False, **settings}
    chosen = align_series(images, bundle, to, mode=modes.split()[0], **settings)["reference"]
    records = {
        (name, mode): align_series(images, bundle, to, name, mode, **settings)
        for name in names
        for mode in modes.split()
    }
    return markdown(records, names, modes.split(), chosen)


if __name__ == "__main__":
    try:
        fire.Fire(series)
    except InputError as error:
        sys.exit(f"error: {error}")
