"""metrics.json of a pair's folder, without its images and fields."""

from __future__ import annotations

import json
import os
from collections.abc import Collection
from pathlib import Path
from typing import Any

from custom_components.common.errors import InputError

METRICS = "metrics.json"
ERROR_FILE = "error_estimate.mha"  # how far the field may be off, where that was estimated
SAID = 8  # ids in a message


def read_metrics(folder: str | Path, missing_ok: bool = False) -> dict[str, Any]:
    """What a pair's metrics.json says, of a failed pair too.

    Args:
        folder: of one pair, such as out/IHC_to_HE.
        missing_ok: give an empty dict where there is no metrics.json.

    Raises:
        InputError: there is none, as in the output folder of a run, whose pairs are named then; or it is damaged.
    """
    root = Path(folder)
    file = root / METRICS
    try:
        metrics = json.loads(file.read_text())
    except (FileNotFoundError, NotADirectoryError) as error:
        if missing_ok:
            return {}
        raise InputError(_why_none(root)) from error
    except (OSError, ValueError) as error:  # also of bytes that are no text
        raise InputError(f"{file} is damaged ({error}); register the pair again") from error
    if not isinstance(metrics, dict):
        raise InputError(f"{file} is damaged (it holds no JSON object); register the pair again")
    return metrics


def find_metrics(folder: str | Path) -> dict[str, Any] | None:
    """What a pair's metrics.json says; None when there is none that can be read."""
    return find_object(Path(folder) / METRICS)


def find_object(file: Path) -> dict[str, Any] | None:
    """A JSON object; None when there is none that can be read."""
    if not os.path.isfile(file):  # as of most of ten thousand pairs that are asked for; an exception takes longer
        return None
    try:
        found = json.loads(file.read_text())
    except (OSError, ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def metrics_in(output_dir: str | Path, keys: Collection[str] | None = None) -> list[dict[str, Any]]:
    """What metrics.json says of each pair in a run's folder, by id; hidden and foreign folders don't count.

    Args:
        output_dir: of the run.
        keys: that are kept, so that ten thousand pairs take little memory; None keeps all.
    """
    found = []
    for file in sorted(Path(output_dir).glob(f"*/{METRICS}")):
        metrics = None if file.parent.name.startswith(".") else find_object(file)
        if metrics is not None and metrics.get("id") == file.parent.name:
            found.append(metrics if keys is None else {key: metrics[key] for key in metrics.keys() & keys})
    return found


def _why_none(folder: Path) -> str:
    """What is there in place of a pair's folder, and the way out."""
    if not folder.exists():
        return f"{folder} does not exist; give the folder of one pair, such as out/IHC_to_HE"
    if not folder.is_dir():
        return f"{folder} is not a folder; give the folder of one pair, such as out/IHC_to_HE"
    pairs = [metrics["id"] for metrics in metrics_in(folder)]
    if pairs:
        named = ", ".join(pairs[:SAID]) + (", ..." if len(pairs) > SAID else "")
        of = f"{len(pairs)} pairs ({named})" if len(pairs) > 1 else f"the pair {named}"
        return f"{folder} holds no {METRICS} but the results of {of}; give the folder of one pair, {folder / pairs[0]}"
    if any(folder.glob("*displacement.*")):
        return f"{folder / METRICS} does not exist; keep it beside the displacement field, it holds the images' sizes"
    return f"{folder} holds no {METRICS} of a registration; give the folder of one pair, such as out/IHC_to_HE"
