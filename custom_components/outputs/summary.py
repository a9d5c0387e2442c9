"""summary.csv, summary.json and index.html over all pairs of an output folder."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd

from custom_components.metrics import PairTRE, aggregate
from custom_components.outputs.pair_folder import read_failed_attempt
from custom_components.outputs.report import environment
from custom_components.pairs import atomic_path
from custom_components.results.record import metrics_in

COLUMNS = (
    "id", "status", "reason", "moving", "fixed", "matches", "folding_share", "similarity", "inverse_error_median",
    "rTRE_initial_mean", "rTRE_mean", "rTRE_median", "rTRE_max", "robustness", "seconds",
)  # fmt: skip


def failure_reason(metrics: dict[str, Any]) -> str:
    """Why a result is poor or failed, and why a repeat that did not replace it failed."""
    repeat = f"the last repeat failed: {metrics['failed_repeat']}" if metrics.get("failed_repeat") else ""
    return "; ".join(part for part in (metrics["reason"], repeat) if part)


def flat_row(metrics: dict[str, Any]) -> dict[str, Any]:
    """One row of summary.csv."""
    marks = metrics.get("landmarks") or {}
    return {
        "id": metrics["id"], "status": metrics["status"], "reason": failure_reason(metrics),
        "moving": metrics["moving"], "fixed": metrics["fixed"], "matches": metrics.get("matches"),
        "folding_share": metrics.get("folding_share"), "similarity": metrics.get("similarity"),
        "inverse_error_median": (metrics.get("inverse_error") or {}).get("median"),
        "rTRE_initial_mean": marks.get("initial_mean"), "rTRE_mean": marks.get("mean"),
        "rTRE_median": marks.get("median"), "rTRE_max": marks.get("max"), "robustness": marks.get("robustness"),
        "seconds": metrics["seconds"]["total"],
    }  # fmt: skip


def write_summary(output_dir: Path) -> dict[str, Any]:
    """Write the three files; returns what summary.json holds."""
    rows = metrics_in(output_dir)
    for m in rows:
        attempt = read_failed_attempt(output_dir, m["id"])
        if attempt is not None:
            m["failed_repeat"] = str(attempt.get("reason", ""))
    scored = [PairTRE(**m["landmarks"]) for m in rows if m.get("landmarks")]
    counts = {status: sum(m["status"] == status for m in rows) for status in ("ok", "poor", "failed")}
    summary = {
        "pairs": len(rows), **counts, "scored": asdict(aggregate(scored)) if scored else None,
        "failed_pairs": {m["id"]: m["reason"] for m in rows if m["status"] == "failed"},
        "failed_repeats": {m["id"]: m["failed_repeat"] for m in rows if "failed_repeat" in m},
    }  # fmt: skip
    with atomic_path(output_dir / "summary.csv") as partial:
        # a failed pair has no matches, and whole numbers with gaps would be written as 40.0
        pd.DataFrame([flat_row(m) for m in rows], columns=COLUMNS).astype({"matches": "Int64"}).to_csv(
            partial, index=False
        )
    with atomic_path(output_dir / "summary.json") as partial:
        partial.write_text(json.dumps(summary, indent=1))
    for m in rows:
        m["reason"] = failure_reason(m)
        for key, name in (("report", "report.html"), ("thumbnail", "thumbnail.jpg"), ("viewer", "viewer.html")):
            m[key] = (output_dir / m["id"] / name).is_file()
    page = environment().get_template("index.html.j2").render(rows=rows, counts=counts, aggregate=summary["scored"])
    with atomic_path(output_dir / "index.html") as partial:
        partial.write_text(page, encoding="utf-8")
    return summary
