"""Which similarity should drive a registration network? Each is trained with several seeds and judged by label maps.

    python -m benchmarks.similarities --pairs data/em/pairs.csv --to out/em --seeds 3 \
        --methods "mse:0.02 ncc:0.5 mind:0.125 ncc+sup:0.5 deepsim-ae:1=runs/em/models/autoencoder.pt syn" \
        --options "max_epochs=40 patch_size=256 classes=2"

A method is ``similarity:lambda``, with ``+sup`` supervised by the label maps too; ``deepsim-NAME`` has ``=EXTRACTOR``,
and ``deepsim-NAME@01`` takes two of its levels. ``syn`` is ANTs' without training, ``syn-NAME=EXTRACTOR`` with features
too, for which ANTsPy must be there. No registration, ``none``, is always in the table. Options go to the bundle's
train.yaml and, as far as it has them, to evaluate.yaml. Trainings and registrations that are done are passed over, so
the command may be stopped and repeated, and ``syn`` run in an environment of its own. Writes similarities.md and .csv.
"""

from __future__ import annotations

import sys
from pathlib import Path

import fire
import pandas as pd

from custom_components.common.errors import InputError
from custom_components.experiments import (
    CONFIGS,
    markdown,
    parse_method,
    parse_options,
    read_keys,
    train_and_register,
    unregistered,
    write_tables,
)
from custom_components.pairs import select_pairs

NONE = "none"


def similarities(
    pairs: str, to: str, methods: str, seeds: int = 1, status: str = "evaluation", options: str = ""
) -> str:
    """The table of all methods; see the module.

    Args:
        pairs: pair table with label maps; rows of status "training" train.
        to: folder of the trainings, registrations and tables.
        methods: divided by spaces.
        seeds: 0 to seeds - 1 each.
        status: of the rows that judge; "validation" to choose lambda by.
        options: of train.yaml and evaluate.yaml, divided by spaces.

    Returns:
        Markdown.

    Raises:
        InputError: a method or option is wrong, or a pair has no label maps.
    """
    chosen, folder, given = select_pairs(pairs, status=status), Path(to), parse_options(options)
    unknown = set(given) - read_keys(CONFIGS / "train.yaml") - read_keys(CONFIGS / "evaluate.yaml")
    if unknown:
        raise InputError(f"neither train.yaml nor evaluate.yaml has the key '{sorted(unknown)[0]}'")
    tables = [unregistered(chosen).assign(method=NONE, seed=0)]
    for method in [parse_method(text) for text in methods.split()]:
        for seed in range(seeds if method.trained else 1):
            tables.append(train_and_register(method, seed, pairs, status, folder, given, chosen))
    rows = pd.concat(tables, ignore_index=True)
    text = markdown(rows)
    write_tables(folder, "similarities", rows, text)
    return text


if __name__ == "__main__":
    try:
        fire.Fire(similarities)
    except InputError as error:
        sys.exit(f"error: {error}")
