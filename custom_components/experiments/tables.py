"""Means over pairs and seeds, and what of their differences is significant."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import wilcoxon

from custom_components.pairs import atomic_path


def holm(values: Sequence[float]) -> list[float]:
    """P values corrected for their number by Holm's method, in their order."""
    order = np.argsort(values)
    corrected = np.maximum.accumulate([values[i] * (len(values) - rank) for rank, i in enumerate(order)])
    result = np.empty(len(values))
    result[order] = np.minimum(corrected, 1.0)
    return [float(value) for value in result]


def significance(rows: pd.DataFrame) -> pd.DataFrame:
    """Every two methods over pairs (means over seeds): two-sided Wilcoxon test, Cohen's d of the pooled deviation."""
    means = rows.groupby(["method", "pair"], sort=False)["dice"].mean().unstack("method")
    found = []
    for first, second in combinations(means.columns, 2):
        a, b = means[first].to_numpy(), means[second].to_numpy()
        pooled = np.sqrt((a.var(ddof=1) + b.var(ddof=1)) / 2)
        p = 1.0 if np.array_equal(a, b) else float(wilcoxon(a, b).pvalue)
        d = float((a - b).mean() / pooled) if pooled > 0 else 0.0
        found.append({"first": first, "second": second, "difference": float((a - b).mean()), "p": p, "d": d})
    table = pd.DataFrame(found)
    return table.assign(p=holm(table["p"].to_list())) if len(table) else table


def markdown(rows: pd.DataFrame) -> str:
    """Table of the methods, and of their differences."""
    classes = [name for name in rows.columns if name.startswith("dice_")]
    lines = [
        "| method | seeds | mean Dice | " + " | ".join(f"Dice {name[5:]}" for name in classes)
        + " | folded, % | sd log J | seconds a pair |",
        "| --- |" + " --- |" * (len(classes) + 5),
    ]  # fmt: skip
    for method, part in rows.groupby("method", sort=False):
        seeds = part.groupby("seed")["dice"].mean()
        spread = f" +- {seeds.std():.4f}" if len(seeds) > 1 else ""
        cells = [f"{part['dice'].mean():.4f}{spread}", *(f"{part[name].mean():.4f}" for name in classes)]
        cells += [
            f"{100 * part['folding'].mean():.3f}",
            f"{part['deviation'].mean():.3f}",
            f"{part['seconds'].mean():.1f}",
        ]
        lines.append(f"| {method} | {len(seeds)} | " + " | ".join(cells) + " |")
    lines += ["", "| | mean Dice, difference | p (Wilcoxon, Holm) | Cohen's d |", "| --- | --- | --- | --- |"]
    lines += [
        f"| {row.first} - {row.second} | {row.difference:+.4f} | {row.p:.2g} | {row.d:+.2f} |"
        for row in significance(rows).itertuples()
    ]
    return "\n".join(lines)


def write_tables(folder: Path, name: str, rows: pd.DataFrame, text: str) -> None:
    """Write ``NAME.csv`` and ``NAME.md`` into a folder, made if absent, each whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    with atomic_path(folder / f"{name}.csv") as temporary:
        rows.to_csv(temporary, index=False)
    with atomic_path(folder / f"{name}.md") as temporary:
        temporary.write_text(text + "\n")
