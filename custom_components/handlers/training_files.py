"""Checks before a training begins: whose checkpoint and whose model lie where it would write."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from custom_components.common.errors import InputError

Record = Mapping[str, Any]
WAY_OUT = "give another --run_dir, or move it away to start afresh"


def check_same_training(file: Path, known: Record | None, record: Record | None) -> None:
    """Raise ``InputError`` unless a training goes on with the data and options that it began with.

    Args:
        file: where it began, for the message.
        known: ``engines.training_record`` of then; None where none was kept.
        record: of now; None for a training that has none.
    """
    if record is None:
        return
    if known is None:
        raise InputError(f"{file} does not say which data and options it was trained with; {WAY_OUT}")
    found = [] if known.get("data") == record.get("data") else ["the data (pair table, status or image files)"]
    for kind in ("weights", "options"):
        before, now = known.get(kind) or {}, record.get(kind) or {}
        found += [f"{key}" for key in dict.fromkeys([*before, *now]) if before.get(key) != now.get(key)]
    if found:
        raise InputError(f"{file} is of another training, which differs in {', '.join(found)}; {WAY_OUT}")


def check_model_file(file: Path, resumed: bool, overwrite: bool = False) -> None:
    """Raise ``InputError`` when a model that this training has not written would be replaced.

    Args:
        file: where the final weights go.
        resumed: the training began in an earlier run, which may have written the file.
        overwrite: it may be replaced all the same.
    """
    if overwrite or not file.exists():
        return
    if (file.parent.parent / "configs" / "metadata.json").is_file():
        raise InputError(
            f"{file} belongs to the bundle and is not replaced; give --run_dir or another --model_file, "
            "or replace it with --overwrite true"
        )
    if not resumed:
        raise InputError(f"{file} exists and is not of this training; {WAY_OUT}")


def agree_on_training(file: Path, record: Record | None, write: bool) -> bool:
    """Check ``record`` against that in ``file``, or keep it there; returns whether the training began before.

    Args:
        file: JSON.
        record: see ``check_same_training``.
        write: this process writes the files.
    """
    try:
        known = json.loads(file.read_text())
    except FileNotFoundError:
        known = None
    except (OSError, ValueError) as error:
        raise InputError(f"{file} can't be read ({error}); {WAY_OUT}") from error
    if known is not None:
        check_same_training(file, known, record)
    elif record is not None and write:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(record, indent=1))
    return known is not None
