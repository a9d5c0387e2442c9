"""summary.csv, summary.json and index.html over all pairs of an output folder."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from statistics import fmean
from typing import Any

import pandas as pd

from custom_components.metrics import PairTRE, aggregate
from custom_components.outputs.expected_error import error_columns
from custom_components.outputs.pair_folder import read_failed_attempt
from custom_components.outputs.report import environment
from custom_components.pairs import atomic_path
from custom_components.results.record import metrics_in

COLUMNS = (
    "id", "status", "reason", "moving", "fixed", "matches", "folding_share", "similarity", "inverse_error_median",
    "rTRE_initial_mean", "rTRE_mean", "rTRE_median", "rTRE_max", "robustness", "seconds",
)  # fmt: skip
# of a pair's metrics.json, what table and page show
SHOWN = frozenset({
    "id", "status", "reason", "moving", "fixed", "matches", "folding_share", "similarity", "inverse_error", "landmarks",
    "seconds", "expected_error",
})  # fmt: skip
FORMULA = ("=", "+", "-", "@", "\t", "\n")
VOLUME_UNITS = ("millimetre", "voxel")
# columns that are there where a pair has them: landmarks of volumes, an error estimate
LENGTHS = ("TRE_mm", "TRE_voxels", "expected_error")


def failure_reason(metrics: dict[str, Any]) -> str:
    """Why a result is poor or failed, and why a repeat that did not replace it failed."""
    repeat = f"the last repeat failed: {metrics['failed_repeat']}" if metrics.get("failed_repeat") else ""
    return "; ".join(part for part in (metrics["reason"], repeat) if part)


def harmless(cell: Any) -> Any:
    """A cell that no spreadsheet takes for a formula: an apostrophe before text that begins like one, as they have it.

    Ids, names of files and reasons come from outside. A carriage return, which ends a row for some readers of CSV and
    is not quoted, becomes a line break.
    """
    if not isinstance(cell, str):
        return cell
    text = cell.replace("\r\n", "\n").replace("\r", "\n")
    return f"'{text}" if text.startswith(FORMULA) else text


def flat_row(metrics: dict[str, Any]) -> dict[str, Any]:
    """One row of summary.csv."""
    marks = metrics.get("landmarks") or {}
    # of volumes lengths, of sections shares of the diagonal
    name = {None: "rTRE", "millimetre": "TRE_mm"}.get(marks.get("unit"), "TRE_voxels")
    errors = {f"{name}_{key}": marks.get(key) for key in ("initial_mean", "mean", "median", "max")}
    return {
        "id": metrics["id"], "status": metrics["status"], "reason": failure_reason(metrics),
        "moving": metrics["moving"], "fixed": metrics["fixed"], "matches": metrics.get("matches"),
        "folding_share": metrics.get("folding_share"), "similarity": metrics.get("similarity"),
        "inverse_error_median": (metrics.get("inverse_error") or {}).get("median"),
        **errors, "robustness": marks.get("robustness"),
        "seconds": metrics["seconds"]["total"], **error_columns(metrics.get("expected_error")),
    }  # fmt: skip


def _volume_means(marks: list[dict[str, Any]]) -> dict[str, Any] | None:
    """Means over pairs of volumes of the figures of each; None where there is none."""
    if not marks:
        return None
    names = ("initial_mean", "mean", "median", "max", "robustness")
    return {"pairs": len(marks), **{name: fmean(m[name] for m in marks) for name in names}}


def write_summary(output_dir: Path) -> dict[str, Any]:
    """Write the three files; returns what summary.json holds."""
    rows = metrics_in(output_dir, SHOWN)
    for m in rows:
        attempt = read_failed_attempt(output_dir, m["id"])
        if attempt is not None:
            m["failed_repeat"] = str(attempt.get("reason", ""))
    marked = [m["landmarks"] for m in rows if m.get("landmarks")]
    scored = [PairTRE(**marks) for marks in marked if "unit" not in marks]
    volumes = {unit: _volume_means([marks for marks in marked if marks.get("unit") == unit]) for unit in VOLUME_UNITS}
    counts = {status: sum(m["status"] == status for m in rows) for status in ("ok", "poor", "failed")}
    summary = {
        "pairs": len(rows), **counts, "scored": asdict(aggregate(scored)) if scored else None,
        "scored_volumes": {unit: means for unit, means in volumes.items() if means} or None,
        "failed_pairs": {m["id"]: m["reason"] for m in rows if m["status"] == "failed"},
        "failed_repeats": {m["id"]: m["failed_repeat"] for m in rows if "failed_repeat" in m},
    }  # fmt: skip
    with atomic_path(output_dir / "summary.csv") as partial:
        # a failed pair has no matches, and whole numbers with gaps would be written as 40.0
        table = [{key: harmless(value) for key, value in flat_row(m).items()} for m in rows]
        more = [key for key in dict.fromkeys(key for row in table for key in row) if key.startswith(LENGTHS)]
        pd.DataFrame(table, columns=[*COLUMNS, *more]).astype({"matches": "Int64"}).to_csv(partial, index=False)
    with atomic_path(output_dir / "summary.json") as partial:
        partial.write_text(json.dumps(summary, indent=1))
    for m in rows:
        m["reason"] = failure_reason(m)
        for key, name in (("report", "report.html"), ("thumbnail", "thumbnail.jpg"), ("viewer", "viewer.html")):
            m[key] = (output_dir / m["id"] / name).is_file()
    page = (
        environment()
        .get_template("index.html.j2")
        .render(
            rows=rows,
            counts=counts,
            aggregate=summary["scored"],
            volumes=any("unit" in marks for marks in marked),
            estimated=any(m.get("expected_error") for m in rows),
        )
    )
    with atomic_path(output_dir / "index.html") as partial:
        partial.write_text(page, encoding="utf-8")
    return summary
