"""Fit and check the error model of histology_registration on pairs with landmarks.

    python -m benchmarks.error_model collect --pairs split.csv --status training --to training.csv
    python -m benchmarks.error_model collect --pairs split.csv --status validation --to validation.csv
    python -m benchmarks.error_model fit --training training.csv --to error_model.json
    python -m benchmarks.error_model check --evidence validation.csv --model error_model.json --plot reliability.png

``split.csv`` is by ``benchmarks.split``: no tissue case is in both parts. ``check`` prints Markdown: rank correlations
of stated and true error, and the share of landmarks beyond their bound.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import fire
import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from scipy.stats import spearmanr
from torch import Tensor

from benchmarks.compare import pair_landmarks
from custom_components.bundles import open_bundle
from custom_components.engines.pair_evaluator import to_pair_images
from custom_components.fields import sample_at
from custom_components.inferers.displaced import RELATED_EVIDENCE
from custom_components.inferers.error_model import ErrorModel, log_evidence
from custom_components.inferers.evidence_maps import EVIDENCE
from custom_components.inferers.flow_refinement import Weight

BUNDLE = "histology_registration"
# chosen by what held on training cases left out of the fit; more evidence gained nothing there
PLACE = ("disagreement", "spread", "unsure", "bend", "doubt")
PAIR = ("disagreement", "bend")
PENALTY = 0.003  # of the quantile regression, on standardised logarithms
COVERAGE = 0.95
FOLDS = 5


@dataclass
class Recorder:
    """Stands in for the error model and keeps the evidence of the last pair."""

    maps: Mapping[str, Weight] = field(default_factory=dict)
    tissue: NDArray[np.bool_] = field(default_factory=lambda: np.zeros((0, 0), bool))
    diagonal: float = 0.0

    def __call__(self, maps: Mapping[str, Weight], tissue: NDArray[np.bool_], diagonal: float) -> Tensor:
        """Nothing is estimated: zeros."""
        self.maps, self.tissue, self.diagonal = maps, tissue, diagonal
        return torch.zeros(1, 2, *tissue.shape)


def collect(pairs: str, to: str, status: str | None = None, limit: int | None = None, **options: Any) -> str:
    """Register the pairs and write a row a landmark: its true error and the evidence there.

    Args:
        pairs: pair table with ``tissue`` and ``block``; both landmark files of each pair.
        to: CSV; errors and lengths are shares of the fixed tissue's diagonal.
        status: of the rows taken.
        limit: only the first pairs.
        options: keys of the bundle, such as ``quality``.

    Returns:
        How many pairs and landmarks there are.
    """
    recorder = Recorder()
    given = {"pairs": pairs, "status": status, "resume": False, "error_model": None} | options
    config = open_bundle(BUNDLE, **given).parser()
    dataset, prepare, inferer = (config.get_parsed_content(key) for key in ("dataset", "preprocessing", "inferer"))
    inferer.steps[-1].error_model = recorder
    named = pd.read_csv(pairs, dtype=str).fillna("").set_index("id")
    rows: list[dict[str, Any]] = []
    for item in dataset.data[:limit]:
        pair = item["pair"]
        images = to_pair_images(prepare(item), torch.device("cpu"))
        assert images.origin is not None
        result = inferer(images)
        marks = pair_landmarks(pair, images.origin.fixed.shape[1:])
        moving, fixed = marks.moving[marks.match.moving][:, ::-1], marks.fixed[marks.match.fixed][:, ::-1]
        start = torch.from_numpy(images.origin.moving_grid.index(moving)).float()
        there = (start + sample_at(result.inverse, start)).double().numpy()
        wanted = images.origin.fixed_grid.index(fixed)
        errors = np.linalg.norm(there - wanted, axis=1) / images.diagonal
        at = tuple(np.clip(there.round().astype(int), 0, np.array(images.shape) - 1).T)
        case = f"{named.loc[pair.id, 'tissue']} {named.loc[pair.id, 'block']}"
        medians = {f"pair_{name}": float(np.median(recorder.maps[name][recorder.tissue])) for name in PAIR}
        places = pd.DataFrame({name: recorder.maps[name][at] for name in recorder.maps})
        rows += [
            {"id": pair.id, "case": case, "error": error, **place, **medians}
            for error, place in zip(errors, places.to_dict("records"), strict=True)
        ]
        print(f"{pair.id} {case}: mean error {errors.mean():.5f}", flush=True)
        pd.DataFrame(rows).to_csv(to, index=False)  # a stopped run keeps what it has
    return f"{len({row['id'] for row in rows})} pairs, {len(rows)} landmarks in {to}"


def _quantile(table: pd.DataFrame, names: Sequence[str], level: float) -> tuple[float, NDArray[np.float64]]:
    """Intercept and coefficients of a quantile of the error's logarithm; every pair counts the same."""
    from sklearn.linear_model import QuantileRegressor

    values = _features(table, names)
    mean, scale = values.mean(axis=0), values.std(axis=0)
    counts = table.groupby("id")["error"].transform("size").to_numpy(float)
    model = QuantileRegressor(quantile=level, alpha=PENALTY, solver="highs")
    model.fit((values - mean) / scale, log_evidence(table["error"]), sample_weight=counts.mean() / counts)
    slopes = model.coef_ / scale
    return float(model.intercept_ - slopes @ mean), slopes


def _features(table: pd.DataFrame, names: Sequence[str]) -> NDArray[np.float64]:
    return np.column_stack([log_evidence(table[name]) for name in names])


def _folds(cases: pd.Series) -> Iterator[NDArray[np.bool_]]:
    """Masks of the rows that are left out, whole cases at a time."""
    names = np.array(sorted(set(cases)))
    for turn in range(FOLDS):
        yield cases.isin(names[turn::FOLDS]).to_numpy()


def quantile_functions(table: pd.DataFrame, place: Sequence[str], pair: Sequence[str]) -> tuple[dict[str, Any], float]:
    """Both functions of ``ErrorModel`` as its file holds them, and the factor by which the bound was widened.

    Args:
        table: with ``error``, ``id``, ``case``, the evidence at each place and its medians ``pair_...``.
        place: names of the evidence at the place that is used.
        pair: and of its medians.
    """
    names = [*place, *(f"pair_{name}" for name in pair)]
    excess, weight = [], []
    for out in _folds(table["case"]):
        intercept, slopes = _quantile(table[~out], names, COVERAGE)
        excess.append(log_evidence(table["error"][out]) - intercept - _features(table[out], names) @ slopes)
        weight.append(1 / table[out].groupby("id")["error"].transform("size").to_numpy(float))
    over, share = np.concatenate(excess), np.concatenate(weight)
    order = np.argsort(over)
    widening = max(float(over[order][np.searchsorted(np.cumsum(share[order]) / share.sum(), COVERAGE)]), 0.0)
    parts: dict[str, Any] = {}
    for name, level, more in (("expected", 0.5, 0.0), ("bound", COVERAGE, widening)):
        intercept, slopes = _quantile(table, names, level)
        first, second = slopes[: len(place)], slopes[len(place) :]
        parts[name] = {
            "intercept": round(intercept + more, 6),
            "place": {key: round(float(value), 6) for key, value in zip(place, first, strict=True) if value},
            "pair": {key: round(float(value), 6) for key, value in zip(pair, second, strict=True) if value},
        }
    return parts, float(np.exp(widening))


def fit(training: str, to: str) -> str:
    """Fit both functions and write them as JSON.

    The bound is widened by the factor with which it holds on landmarks of cases that were left out of its fit, taken as
    the quantile over cases' own quantiles would be too few of; every pair counts the same.

    Args:
        training: CSV of ``collect``.
        to: JSON of ``ErrorModel``.

    Returns:
        The factor.
    """
    table = pd.read_csv(training)
    parts, widening = quantile_functions(table, PLACE, PAIR)
    Path(to).write_text(json.dumps(parts, indent=1) + "\n", encoding="utf-8")
    return f"{to}: {table['id'].nunique()} pairs, bound widened by {widening:.3f}"


def stated(table: pd.DataFrame, model: ErrorModel) -> pd.DataFrame:
    """The table with the expected error and the bound at each place, from its columns of evidence."""
    expected, bound = np.empty(len(table)), np.empty(len(table))
    for _, rows in table.groupby("id"):
        here = {name: rows[name].to_numpy() for name in (*EVIDENCE, *RELATED_EVIDENCE) if name in rows}
        medians = {name: float(rows[f"pair_{name}"].iloc[0]) for name in here if f"pair_{name}" in rows}
        index = rows.index.to_numpy()
        expected[index], bound[index] = model.expected(here, medians), model.bound(here, medians)
    return table.assign(expected=expected, bound=np.maximum(expected, bound))


def calibration(table: pd.DataFrame, wholes: str, places: str) -> str:
    """Markdown: how well the errors of ``stated`` are the true ones, of pairs or other ``wholes`` and their places."""
    mean = table.groupby("id")[["error", "expected"]].mean()
    beyond = table["error"] > table["bound"]
    ranks = [spearmanr(part["expected"], part["error"])[0] for part in (mean, table)]
    return "\n".join(
        (
            f"| {wholes} | {places} | rank correlation, {wholes} | {places} | below the expected error "
            "| beyond the bound |",
            "| --- | --- | --- | --- | --- | --- |",
            f"| {len(mean)} | {len(table)} | {ranks[0]:.3f} | {ranks[1]:.3f} "
            f"| {(table['error'] < table['expected']).mean():.1%} | {beyond.mean():.1%} |",
        )
    )


def check(evidence: str, model: str, plot: str | None = None) -> str:
    """Markdown: how well the stated errors of a table of ``collect`` are the true ones; ``plot`` takes a picture."""
    table = stated(pd.read_csv(evidence), ErrorModel.read(model))
    if plot is not None:
        _reliability(table, Path(plot))
    return calibration(table, "pairs", "landmarks")


def _reliability(table: pd.DataFrame, file: Path) -> None:
    """Median and 95th percentile of the true error over tenths of the stated one."""
    from matplotlib.figure import Figure

    tenth = pd.qcut(table["expected"], 10, labels=False)
    figure = Figure(figsize=(5, 5), layout="constrained")
    axes = figure.subplots()
    groups = table.groupby(tenth)
    axes.loglog(groups["expected"].median(), groups["error"].median(), "o-", label="median")
    axes.loglog(groups["bound"].median(), groups["error"].quantile(COVERAGE), "s-", label="95 % bound")
    limits = np.array([table["expected"].min(), table["bound"].max()])
    axes.loglog(limits, limits, "k--", linewidth=1)
    axes.set(xlabel="stated error, share of the tissue's diagonal", ylabel="true error at landmarks")
    axes.legend()
    figure.savefig(file, dpi=100)


if __name__ == "__main__":
    fire.Fire({"collect": collect, "fit": fit, "check": check})
