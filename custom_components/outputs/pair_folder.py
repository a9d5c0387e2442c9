"""The folder of a pair in a run's output folder: it is either whole or absent."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Callable, Collection
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

from custom_components.errors import InputError
from custom_components.pairs import atomic_folder


def is_done(output_dir: Path, identifier: str) -> bool:
    """Whether a pair was registered in an earlier run; failed ones are tried again."""
    metrics = read_pair_metrics(output_dir, identifier)
    return metrics is not None and metrics.get("status") in ("ok", "poor")


def check_writable(output_dir: Path) -> None:
    """Make the folder if it is absent, and raise ``InputError`` when nothing can be written in it."""
    try:
        output_dir.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=output_dir):
            pass
    except OSError as error:
        raise _unwritable(output_dir, error) from error


def _unwritable(output_dir: Path, error: OSError) -> InputError:
    why = error.strerror or error
    return InputError(f"output folder {output_dir} can't be written ({why}); choose another output_dir")


def clear_leftovers(output_dir: Path, identifiers: Collection[str]) -> None:
    """Remove the hidden folders that stopped runs or killed processes left of these pairs.

    Nothing else may be writing the pairs meanwhile.
    """
    if not output_dir.is_dir():
        return
    for folder in output_dir.iterdir():
        found = re.fullmatch(r"\.(?P<id>.+?)(\.[0-9a-f]{8})?\.(partial|old)", folder.name)
        if found and found["id"] in identifiers:
            shutil.rmtree(folder, ignore_errors=True)


def stamp_of(output_dir: Path, identifier: str) -> str | None:
    """What tells one writing of a pair from another, None when there is none.

    The digest of its metrics.json, whose seconds never repeat: times and inodes differ between machines.
    """
    try:
        return hashlib.sha256((output_dir / identifier / "metrics.json").read_bytes()).hexdigest()
    except OSError:
        return None


def read_pair_metrics(output_dir: Path, identifier: str) -> dict[str, Any] | None:
    """metrics.json of a pair, None when there is none that can be read."""
    try:
        metrics = json.loads((output_dir / identifier / "metrics.json").read_text())
    except (OSError, ValueError):
        return None
    return metrics if isinstance(metrics, dict) else None


def publish(output_dir: Path, identifier: str, fill: Callable[[Path], None]) -> None:
    """Let ``fill`` write into a hidden folder, then put it in place of ``<output_dir>/<identifier>``.

    Raises:
        InputError: the output folder can't be written, or is full.
    """
    try:
        with atomic_folder(output_dir / identifier) as partial:
            fill(partial)
    except OSError as error:
        raise _unwritable(output_dir, error) from error
