"""The ANHIR challenge's submission form: a results table and one landmark file a pair."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from custom_components.pairs import Pair, atomic_path


def write_submission(pairs: Sequence[Pair], output_dir: Path) -> Path:
    """Collect warped landmarks into ``<output_dir>/submission/``; returns the results table's path.

    Pairs without warped landmarks are listed with an empty cell: the challenge then scores them as unregistered.
    The challenge also asks for computer-performances.json of its own benchmark program, which is not written here.
    """
    folder = output_dir / "submission"
    (folder / "landmarks").mkdir(parents=True, exist_ok=True)
    rows = []
    for number, pair in enumerate(pairs):
        warped = output_dir / pair.id / "warped_landmarks.csv"
        metrics = output_dir / pair.id / "metrics.json"
        name = f"landmarks/{pair.id}.csv" if warped.is_file() else ""
        if name:
            shutil.copyfile(warped, folder / name)
        seconds = json.loads(metrics.read_text())["seconds"]["total"] if metrics.is_file() else float("nan")
        rows.append({
            "": number, "Target image": pair.fixed.name, "Source image": pair.moving.name,
            "Target landmarks": pair.fixed_landmarks.name if pair.fixed_landmarks else "",
            "Source landmarks": pair.moving_landmarks.name if pair.moving_landmarks else "",
            "status": pair.extra.get("status", ""), "Warped source landmarks": name,
            "Execution time [minutes]": seconds / 60,
        })  # fmt: skip
    target = folder / "registration-results.csv"
    with atomic_path(target) as partial:
        pd.DataFrame(rows).to_csv(partial, index=False)
    return target
