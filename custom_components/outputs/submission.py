"""The ANHIR challenge's submission form: a results table and one landmark file a pair."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from custom_components.pairs import Pair, atomic_path, read_points, write_points
from custom_components.results.record import read_metrics


def write_submission(pairs: Sequence[Pair], output_dir: Path) -> Path:
    """Collect warped landmarks into ``<output_dir>/submission/``; returns the results table's path.

    Landmark files are numbered from 1, as the challenge asks. A pair without warped landmarks keeps its row with an
    empty cell: the challenge then scores it as unregistered. The challenge also asks for computer-performances.json
    of its own benchmark program, which is not written here.

    Args:
        pairs: all pairs of the cover table, in its order.
        output_dir: of the run.
    """
    folder = output_dir / "submission"
    (folder / "landmarks").mkdir(parents=True, exist_ok=True)
    root = _common_folder(pairs)
    rows = []
    for number, pair in enumerate(pairs):
        warped, name = output_dir / pair.id / "warped_landmarks.csv", ""
        if warped.is_file():
            name = f"landmarks/{pair.id}.csv"
            write_points(folder / name, read_points(warped))
        rows.append({
            "": number,
            "Target image": _relative(pair.fixed, root), "Source image": _relative(pair.moving, root),
            "Target landmarks": _relative(pair.fixed_landmarks, root),
            "Source landmarks": _relative(pair.moving_landmarks, root),
            "status": pair.extra.get("status", ""), "Warped source landmarks": name,
            "Execution time [minutes]": _seconds(output_dir / pair.id) / 60,
        })  # fmt: skip
    target = folder / "registration-results.csv"
    with atomic_path(target) as partial:
        pd.DataFrame(rows).to_csv(partial, index=False)
    return target


def _common_folder(pairs: Sequence[Pair]) -> Path:
    """The deepest folder that holds every file of the pairs: the root of the data set."""
    files = [
        os.path.abspath(file)
        for pair in pairs
        for file in (pair.fixed, pair.moving, pair.fixed_landmarks, pair.moving_landmarks)
        if file is not None
    ]
    return Path(os.path.commonpath([os.path.dirname(file) for file in files])) if files else Path()


def _relative(path: Path | None, root: Path) -> str:
    return "" if path is None else Path(os.path.relpath(path, root)).as_posix()


def _seconds(folder: Path) -> float:
    """Total time of a pair; NaN, an empty cell, when it was never run."""
    return float((read_metrics(folder, missing_ok=True).get("seconds") or {}).get("total", "nan"))
