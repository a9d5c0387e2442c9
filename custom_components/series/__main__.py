"""All sections of a block into the frame of one of them.

    python -m custom_components.series --images slides.csv --output_dir out
    python -m custom_components.series --images a.png,b.png,c.png --bundle histology_registration --output_dir out

The order is that of the list or table. What is written stands in docs/series.md; every key of the bundle's
inference.yaml can be set besides, as ``--working_size 2048``.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import fire

from custom_components.bundles.places import DEFAULT
from custom_components.common.errors import InputError
from custom_components.common.stopping import stopped_by_signals
from custom_components.series.aligning import align_series


def series(
    images: str | Sequence[str],
    bundle: str = DEFAULT,
    output_dir: str = "out",
    reference: str | None = None,
    mode: str = "both",
    stack: bool = False,
    resume: bool = True,
    reach: int = 2,
    **settings: Any,
) -> str:
    """Align a series and say in one line what became of it.

    Args:
        images: a CSV table with the column image and optionally id, landmarks, annotations, labels; or images divided
            by commas.
        bundle: folder of the bundle that registers the pairs, or a config file.
        output_dir: a folder for each section, pairs/ with the registrations, series.json, series.csv, index.html.
        reference: id of the section that stays, or middle; left out, the one that the others match best.
        mode: neighbours, all_to_one, both or all_pairs are registered.
        stack: true also writes stack.ome.tif, one grey channel a section.
        resume: false does everything again.
        reach: good sections that a section is tried on before it is left out.
        settings: other values for keys of the bundle's config.
    """
    wanted = None if reference is None else str(reference)  # Fire makes a number of the id 007
    record = align_series(images, bundle, output_dir, wanted, mode, stack, resume, reach, **settings)
    text = f"{len(record['sections'])} sections: " + ", ".join(f"{record[s]} {s}" for s in ("ok", "poor", "failed"))
    if record["scored"]:
        text += f", AArTRE {record['scored']['initial_AArTRE']:.5f} -> {record['scored']['AArTRE']:.5f}"
    return f"{text}; {output_dir}/index.html"


def main() -> None:
    """Command line; a wrong file gives one line and exit code 1."""
    try:
        with stopped_by_signals("finished sections and pairs are whole; the same command resumes with the others"):
            fire.Fire(series)
    except InputError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
