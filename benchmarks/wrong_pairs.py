"""How a bundle judges pairs that don't belong together, and as many that do.

    python -m benchmarks.wrong_pairs --pairs split.csv --to wrong --wrong 60 --right 60
    python -m benchmarks.wrong_pairs --pairs split.csv --to wrong --others "heart.png brain.png"

Wrong pairs are drawn from the table with a fixed seed: a fixed section with a moving one of another tissue, of another
block of the same tissue, or with one of the images ``others`` of another modality; right ones are its own rows. Prints
Markdown: how many of each are ok, poor or refused, and which were judged wrongly. A run that was stopped resumes.
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import fire
import numpy as np
import pandas as pd

from custom_components.bundles import open_bundle

KINDS = ("other tissue", "other block", "other modality", "right")
STATES = ("ok", "poor", "failed")


def draw_pairs(table: pd.DataFrame, wrong: int, right: int, others: list[str], seed: int = 0) -> pd.DataFrame:
    """Rows ``id, moving, fixed, kind``; the wrong ones in equal parts of the kinds that there are.

    Args:
        table: with ``id``, ``tissue``, ``block``, ``moving`` and ``fixed``.
        wrong: how many unrelated pairs are wanted; fewer where the table holds fewer.
        right: how many rows are taken as they are.
        others: images of another modality, as moving ones.
        seed: of the choice.
    """
    rng, rows = np.random.default_rng(seed), []
    tissue, block = table["tissue"].to_numpy(), table["block"].to_numpy()
    same = tissue[:, None] == tissue[None]
    chances = {KINDS[0]: ~same, KINDS[1]: same & (block[:, None] != block[None])}
    kinds = [kind for kind, chance in chances.items() if chance.any()] + ([KINDS[2]] if others else [])
    for number, kind in enumerate(kinds):
        count = wrong // len(kinds) + (number < wrong % len(kinds))
        if kind in chances:
            places = np.argwhere(chances[kind])
            chosen = places[rng.permutation(len(places))[:count]]
            found = [(table["moving"].iloc[a], table["fixed"].iloc[b]) for a, b in chosen]
        else:
            order = rng.integers(len(table), size=count)
            found = [(others[place % len(others)], table["fixed"].iloc[row]) for place, row in enumerate(order)]
        rows += [
            {"id": f"{kind.replace(' ', '_')}_{place:03d}", "moving": moving, "fixed": fixed, "kind": kind}
            for place, (moving, fixed) in enumerate(found)
        ]
    for row in rng.permutation(len(table))[:right]:
        own = table.iloc[row]
        rows.append({"id": f"right_{own['id']}", "moving": own["moving"], "fixed": own["fixed"], "kind": KINDS[3]})
    return pd.DataFrame(rows)


def verdicts(drawn: pd.DataFrame, results: Path) -> str:
    """Markdown of what became of the pairs that have a result; a wrong pair should not be ok, a right one should."""
    states: dict[str, Counter[str]] = {kind: Counter() for kind in KINDS}
    odd = []
    for row in drawn.itertuples():
        file = results / str(row.id) / "metrics.json"
        if not file.is_file():
            continue
        metrics = json.loads(file.read_text(encoding="utf-8"))
        states[str(row.kind)][metrics["status"]] += 1
        if (row.kind == KINDS[3]) != (metrics["status"] == "ok"):
            support = metrics.get("support")
            said = f", support {support:.2f}" if support is not None else ""
            odd.append(f"{row.id}: {metrics['status']}{said} {metrics['reason']}".strip())
    lines = ["| pairs | number | ok | poor | refused |", "| --- | --- | --- | --- | --- |"]
    for kind, counts in states.items():
        if counts:
            figures = " | ".join(str(counts[state]) for state in STATES)
            lines.append(f"| {kind} | {counts.total()} | {figures} |")
    return "\n".join([*lines, *(["", "Judged wrongly:", *odd] if odd else [])])


def judge(
    pairs: str, to: str, bundle: str = "histology_registration", status: str | None = None, wrong: int = 200,
    right: int = 200, others: str = "", seed: int = 0, **options: Any,
) -> str:  # fmt: skip
    """Register the pairs and count the verdicts.

    Args:
        pairs: pair table with ``tissue`` and ``block``.
        to: folder of the drawn table and the results.
        bundle: its name.
        status: of the rows taken.
        wrong: how many unrelated pairs.
        right: how many right ones.
        others: images of another modality, separated by spaces.
        seed: of the choice.
        options: keys of the bundle, such as ``quality``.

    Returns:
        Markdown.
    """
    folder = Path(to)
    folder.mkdir(parents=True, exist_ok=True)
    table = pd.read_csv(pairs, dtype=str)
    if status is not None:
        table = table[table["status"] == status]
    for column in ("moving", "fixed"):
        table[column] = [str(Path(pairs).resolve().parent / name) for name in table[column]]
    images = [str(Path(name).resolve()) for name in others.split()]
    drawn = draw_pairs(table, wrong, right, images, seed)
    drawn.to_csv(folder / "pairs.csv", index=False)
    given = {"pairs": str(folder / "pairs.csv"), "output_dir": str(folder / "results"), "report": False}
    try:
        open_bundle(bundle, **given | options).run()
    except SystemExit as end:  # every pair was refused
        print(end)
    return verdicts(drawn, folder / "results")


if __name__ == "__main__":
    fire.Fire(judge)
