"""The table of ``benchmarks.defects``: means over pairs, near and far from defects, and tests against one method."""

from __future__ import annotations

import pandas as pd
from scipy.stats import wilcoxon

from custom_components.experiments import holm

ERRORS = ("tre", "near", "far")


def measure_of(rows: pd.DataFrame) -> str:
    """What the methods are tested by on one set: errors near the defects, else all errors, else Dice."""
    return next(name for name in ("near", "tre", "dice") if name in rows and rows[name].notna().any())


def compared_with(rows: pd.DataFrame, reference: str) -> pd.DataFrame:
    """Every method of one set against one of them: mean difference over pairs and p of a Wilcoxon test after Holm.

    Args:
        rows: of one set; seeds are averaged.
        reference: a method.
    """
    means = _pair_means(rows, measure_of(rows)).dropna()
    found = []
    for other in means.columns.drop(reference):
        difference = (means[other] - means[reference]).to_numpy()
        p = float(wilcoxon(difference).pvalue) if difference.any() else 1.0
        found.append({"method": other, "difference": float(difference.mean()), "p": p, "pairs": len(difference)})
    table = pd.DataFrame(found)
    return table.assign(p=holm(table["p"].to_list())) if len(table) else table


def _pair_means(rows: pd.DataFrame, column: str) -> pd.DataFrame:
    """Pairs by methods, averaged over seeds."""
    means = rows.groupby(["pair", "method"], sort=False)[column].mean().unstack("method")
    return means[list(dict.fromkeys(rows["method"]))]


def _spread(values: pd.Series, digits: int) -> str:
    """Mean +- standard deviation over pairs; empty where there are none."""
    known = values.dropna()
    if known.empty:
        return ""
    return f"{known.mean():.{digits}f}" + (f" +- {known.std():.{digits}f}" if len(known) > 1 else "")


def markdown_set(rows: pd.DataFrame, reference: str | None, near: float) -> str:
    """The table of one set, and of its tests."""
    labelled = rows["tre"].isna().all()
    titles = ["mean Dice"] if labelled else ["TRE, px", f"within {near:g} px of the defect", "farther"]
    titles += ["folded, %", *(["sd log J"] if labelled else []), "seconds a pair"]
    lines = [f"| method | seeds | {' | '.join(titles)} |", "| --- |" + " --- |" * (len(titles) + 1)]
    columns = {name: _pair_means(rows, name) for name in (("dice",) if labelled else ERRORS)}
    for method, part in rows.groupby("method", sort=False):
        cells = [_spread(means[method], 4 if labelled else 3) for means in columns.values()]
        cells.append(f"{100 * part['folding'].mean():.3f}")
        cells += [f"{part['deviation'].mean():.3f}"] if labelled else []
        cells.append(f"{part['seconds'].mean():.2f}")
        lines.append(f"| {method} | {part['seed'].nunique()} | {' | '.join(cells)} |")
    tests = pd.DataFrame() if reference is None else compared_with(rows, reference)
    if len(tests):
        name = {"near": "near error, px", "tre": "TRE, px", "dice": "mean Dice"}[measure_of(rows)]
        lines += ["", f"| | {name}, difference | p (Wilcoxon, Holm) | pairs |", "| --- | --- | --- | --- |"]
        lines += [
            f"| {row.method} - {reference} | {row.difference:+.4f} | {row.p:.2g} | {row.pairs} |"
            for row in tests.itertuples()
        ]
    return "\n".join(lines)


def markdown(rows: pd.DataFrame, reference: str | None, near: float) -> str:
    """All sets, each with its number of pairs; means and standard deviations are over pairs, averaged over seeds."""
    parts = []
    for name, part in rows.groupby("set", sort=False):
        parts.append(f"{name}: {part['pair'].nunique()} pairs\n\n{markdown_set(part, reference, near)}")
    return "\n\n".join(parts)
