"""series.json, series.csv and index.html: what became of every section and by which way."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import pandas as pd

from custom_components.metrics import PairTRE, aggregate
from custom_components.outputs import pictures as draw
from custom_components.outputs.report import environment, shrunk
from custom_components.pairs import atomic_path, read_image
from custom_components.series.routes import Outcome
from custom_components.series.sections import PAIRS, Section, pair_id
from custom_components.slides.native import native_array

PREVIEW = 720  # pixels, longest side
STATUSES = ("ok", "poor", "failed")


@dataclass(frozen=True)
class Run:
    """A finished series.

    Attributes:
        sections: in order.
        reference: number of the reference.
        why: it is that one, in words.
        mode: which pairs were registered.
        paths: section numbers from the reference to each section; empty for one that failed.
        metrics: metrics.json of each section.
        outcomes: of all pairs.
        config: the bundle's config.
        settings: other values of its keys.
    """

    sections: Sequence[Section]
    reference: int
    why: str
    mode: str
    paths: Sequence[tuple[int, ...]]
    metrics: Sequence[Mapping[str, Any]]
    outcomes: Sequence[Outcome]
    config: str
    settings: Mapping[str, Any]

    def __post_init__(self) -> None:
        assert len(self.sections) == len(self.paths) == len(self.metrics)


def warped_file(folder: Path) -> Path | None:
    """The warped image in a section's folder."""
    return next(iter(sorted(folder.glob("warped.*"))), None)


def write_preview(folder: Path) -> None:
    """A small picture of the warped image for the index page."""
    file = warped_file(folder)
    if file is None:
        return
    image = shrunk(native_array(read_image(file, longest=PREVIEW)), PREVIEW)
    with atomic_path(folder / "preview.jpg") as partial:
        partial.write_bytes(draw.jpeg(draw.to_rgb(image)))


def section_rows(run: Run) -> list[dict[str, Any]]:
    """One row a section, as series.json and series.csv have it."""
    rows = []
    for section, path, metrics in zip(run.sections, run.paths, run.metrics, strict=True):
        marks = metrics.get("landmarks") or {}
        made = metrics.get("series") or {}
        rows.append({
            "id": section.id, "image": str(section.image), "status": metrics["status"], "reason": metrics["reason"],
            "path": [run.sections[number].id for number in path],
            "similarity": metrics.get("similarity"), "folding_share": metrics.get("folding_share"),
            "inverse_error_median": (metrics.get("inverse_error") or {}).get("median"),
            "disagreement": made.get("disagreement"),
            "rTRE_initial_mean": marks.get("initial_mean"), "rTRE_mean": marks.get("mean"),
            "rTRE_median": marks.get("median"), "rTRE_max": marks.get("max"), "robustness": marks.get("robustness"),
            "seconds": metrics["seconds"]["total"],
        })  # fmt: skip
    return rows


def pair_rows(run: Run) -> list[dict[str, Any]]:
    """One row a registration."""
    ids = [section.id for section in run.sections]
    return [
        {
            "fixed": ids[o.fixed], "moving": ids[o.moving],
            "folder": pair_id(run.sections[o.moving], run.sections[o.fixed]),
            "status": o.status, "reason": o.reason, "matches": o.matches, "similarity": o.similarity,
        }
        for o in run.outcomes
    ]  # fmt: skip


def write_record(run: Run, output_dir: Path) -> dict[str, Any]:
    """Write the three files; returns what series.json holds."""
    rows, pairs = section_rows(run), pair_rows(run)
    moved = [m for number, m in enumerate(run.metrics) if number != run.reference]
    scored = [PairTRE(**m["landmarks"]) for m in moved if m.get("landmarks")]
    record = {
        "reference": run.sections[run.reference].id, "reference_chosen": run.why, "mode": run.mode,
        "order": [section.id for section in run.sections],
        **{status: sum(row["status"] == status for row in rows) for status in STATUSES},
        "scored": asdict(aggregate(scored)) if scored else None,
        "config": run.config, "settings": {key: str(value) for key, value in run.settings.items()},
        "sections": rows, "pairs": pairs,
    }  # fmt: skip
    with atomic_path(output_dir / "series.json") as partial:
        partial.write_text(json.dumps(record, indent=1))
    with atomic_path(output_dir / "series.csv") as partial:
        pd.DataFrame([row | {"path": " > ".join(row["path"])} for row in rows]).to_csv(partial, index=False)
    _write_page(record, output_dir)
    return record


def _report_line(output_dir: Path, pair: str) -> str | None:
    """The link to a pair's report; None where it was left out."""
    link = f"{PAIRS}/{pair}/report.html"
    return link if (output_dir / link).is_file() else None


def _write_page(record: Mapping[str, Any], output_dir: Path) -> None:
    folders = {frozenset((pair["fixed"], pair["moving"])): pair["folder"] for pair in record["pairs"]}
    rows, slides = [], []
    for row in record["sections"]:
        folder = output_dir / row["id"]
        steps = list(pairwise(row["path"]))
        rows.append({
            **row, "steps": [(end, _report_line(output_dir, folders[frozenset((start, end))])) for start, end in steps],
            "report": (folder / "report.html").is_file(), "thumbnail": (folder / "thumbnail.jpg").is_file(),
        })  # fmt: skip
        if (folder / "preview.jpg").is_file():
            slides.append({"id": row["id"], "status": row["status"]})
    page = environment().get_template("series.html.j2").render(
        s=record, rows=rows, slides=slides, lost=[p for p in record["pairs"] if p["status"] != "ok"],
        start=next((n for n, slide in enumerate(slides) if slide["id"] == record["reference"]), 0),
    )  # fmt: skip
    with atomic_path(output_dir / "index.html") as partial:
        partial.write_text(page, encoding="utf-8")
