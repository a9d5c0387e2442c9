"""What each part of histology_registration is worth: the bundle with one of them left out at a time.

    python -m benchmarks.ablation --pairs split.csv --status validation --to out/ablation
    python -m benchmarks.ablation --pairs split.csv --status validation --to out/ablation --names "no pieces"

Every variant is a run of the bundle into a folder of its name; the command may be stopped and repeated, as a second run
resumes. Prints the errors at the landmarks, the difference from the whole method with its interval over tissue cases,
and the pairs that the whole method wins, and writes ablation.md and .csv.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import fire
import pandas as pd

from benchmarks.compare import run_errors, tissue_case
from benchmarks.paired import compare_paired
from custom_components.bundles import open_bundle
from custom_components.common.errors import InputError
from custom_components.experiments import write_tables
from custom_components.metrics.tre import PairTRE
from custom_components.pairs import select_pairs

BUNDLE = "histology_registration"
WHOLE = "all"


@dataclass(frozen=True)
class Variant:
    """The bundle with other values for some keys, and without one of the steps of its chain."""

    overrides: Mapping[str, Any] = field(default_factory=dict)
    without: str = ""

    def run(self, **given: Any) -> None:
        """Run the bundle with the further keys."""
        bundle = open_bundle(BUNDLE, **(given | dict(self.overrides)))
        inferer = dict(bundle.config["inferer"])
        inferer["steps"] = [step for step in inferer["steps"] if step["_target_"].rpartition(".")[2] != self.without]
        replace(bundle, config=dict(bundle.config) | {"inferer": inferer}).run()


VARIANTS: Mapping[str, Variant] = {
    WHOLE: Variant(),
    "luminance alone": Variant({"renderings": ["luminance"]}),
    "deviation alone": Variant({"renderings": ["deviation"]}),
    "no networks": Variant({"networks": False}),
    "no matches after the affine": Variant(without="HybridMatching"),
    "no pieces": Variant(without="PieceAlignment"),
    "vote by correlation": Variant({"vote_weights": "$None"}),
    "no correction": Variant({"correction": False}),
    "the affine never kept": Variant({"inferer::steps::3::margin": None}),
}


def table_row(name: str, own: list[PairTRE], whole: list[PairTRE], cases: list[str]) -> dict[str, Any]:
    """Means over the pairs, and how the mean error differs from that of the whole method."""
    means = [[getattr(pair, kind) for pair in own] for kind in ("mean", "median")]
    paired = compare_paired(means[0], [pair.mean for pair in whole], cases)
    return {
        "variant": name,
        "AArTRE": sum(means[0]) / len(own),
        "AMrTRE": sum(means[1]) / len(own),
        "difference": paired.difference,
        "low": paired.low,
        "high": paired.high,
        "whole wins": paired.pair_losses,
        "whole loses": paired.pair_wins,
    }


def markdown(table: pd.DataFrame) -> str:
    """A row for each variant; a difference above 0 is what its part was worth."""
    lines = [
        "| variant | AArTRE | AMrTRE | difference, 95 % over cases | pairs that the whole wins / loses |",
        "| --- | --- | --- | --- | --- |",
    ]
    for row in table.to_dict("records"):
        apart = "" if row["variant"] == WHOLE else f"{row['difference']:+.5f} ({row['low']:+.5f} to {row['high']:+.5f})"
        wins = "" if row["variant"] == WHOLE else f"{row['whole wins']} / {row['whole loses']}"
        lines.append(f"| {row['variant']} | {row['AArTRE']:.5f} | {row['AMrTRE']:.5f} | {apart} | {wins} |")
    return "\n".join(lines)


def ablation(pairs: str, to: str, status: str | None = None, names: str | None = None, **options: Any) -> str:
    """The table; see the module.

    Args:
        pairs: pair table with landmarks of both images, ``tissue`` and ``block``.
        to: folder of the runs and tables.
        status: of the rows taken.
        names: variants beside the whole method, divided by commas; None takes all.
        options: keys of the bundle, for all variants.

    Raises:
        InputError: there is no such variant, or no pair is left.
    """
    wanted = list(VARIANTS) if names is None else [WHOLE, *(name.strip() for name in names.split(","))]
    unknown = [name for name in wanted if name not in VARIANTS]
    if unknown:
        raise InputError(f"unknown variant '{unknown[0]}'; there are {', '.join(VARIANTS)}")
    chosen, root = list(select_pairs(pairs, status=status)), Path(to)
    cases, found, table = [tissue_case(pair) for pair in chosen], {}, []
    for name in dict.fromkeys(wanted):
        folder = root / name.replace(" ", "_")
        VARIANTS[name].run(pairs=pairs, status=status, output_dir=str(folder), report=False, **options)
        found[name] = run_errors(chosen, folder)
        table.append(table_row(name, found[name], found[WHOLE], cases))
        print(markdown(pd.DataFrame(table[-1:])), flush=True)
    frame = pd.DataFrame(table)
    text = f"{len(chosen)} pairs of {len(set(cases))} cases\n\n{markdown(frame)}"
    write_tables(root, "ablation", frame, text)
    return text


if __name__ == "__main__":
    fire.Fire(ablation)
