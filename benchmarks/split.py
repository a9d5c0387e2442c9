"""A pair table split by tissue case: ``python -m benchmarks.split --pairs pairs.csv --to split.csv``.

Sections of one block share slides, so a split by pairs would train on what it is judged by.
"""

from __future__ import annotations

from pathlib import Path

import fire
import pandas as pd

from custom_components.common.errors import InputError

# Tissue and block; 49 of ANHIR's 200 training pairs, of six of its seven tissues.
HELD_OUT = (
    "COAD 03,COAD 05,COAD 11,COAD 19,breast 5,gastric 1,gastric 5,kidney 5,lung-lobes 4,mammary-gland 1"
)  # fmt: skip
FILES = ("moving", "fixed", "moving_landmarks", "fixed_landmarks")


def split(pairs: str, to: str, held_out: str = HELD_OUT, status: str = "training") -> str:
    """Write the rows with ``status``, those of the cases ``held_out`` renamed to ``validation``.

    Args:
        pairs: pair table with columns ``tissue``, ``block`` and ``status``.
        to: the new table; its paths are absolute.
        held_out: cases, "tissue block", separated by commas.
        status: of the rows taken.

    Returns:
        How many pairs there are of each.

    Raises:
        InputError: a case is not in the table.
    """
    folder = Path(pairs).resolve().parent
    table = pd.read_csv(pairs, dtype=str)
    table = table[table["status"] == status].copy()
    cases = table["tissue"] + " " + table["block"]
    wanted = [case.strip() for case in held_out.split(",")]
    unknown = sorted(set(wanted) - set(cases))
    if unknown:
        raise InputError(f"{pairs} has no case {', '.join(unknown)} of status '{status}'")
    table["status"] = ["validation" if case in wanted else "training" for case in cases]
    for column in (name for name in FILES if name in table):
        table[column] = [str(folder / name) if isinstance(name, str) else name for name in table[column]]
    table.to_csv(to, index=False)
    return ", ".join(f"{count} {name}" for name, count in table["status"].value_counts().items())


if __name__ == "__main__":
    fire.Fire(split)
