"""The folder of a pair in a run's output folder: it is either whole or absent."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Collection
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

from custom_components.common.errors import InputError
from custom_components.pairs import atomic_folder, atomic_path
from custom_components.pairs.atomic import IsOurs, check_replaceable, clear_file_leftovers, clear_folder_leftovers
from custom_components.results.record import METRICS, find_metrics, find_object

SUMMARIES = ("summary.csv", "summary.json", "index.html")  # beside the folders of the pairs
FAILED_ATTEMPT = "failed_attempt.json"  # of a repeat, beside the good result that it would have replaced
ALWAYS_OURS = re.compile(rf"metrics\.json|report\.html|preview\.jpg|{re.escape(FAILED_ATTEMPT)}")
# of results that don't say what they wrote
OURS = re.compile(
    rf"{ALWAYS_OURS.pattern}|thumbnail\.jpg|transform\.h5|error_estimate\..+|(inverse_)?displacement\.(mha|nii\.gz)"
    r"|warped\.(ome\.)?[^.]+(\.gz)?|warped_labels\.[^.]+(\.gz)?|warped_landmarks\.csv"
)


def is_done(output_dir: Path, identifier: str) -> bool:
    """Whether a pair was registered in an earlier run; failed ones are tried again.

    Of what it was registered, ``outputs.identity`` tells.
    """
    metrics = find_metrics(output_dir / identifier)
    return metrics is not None and is_good(metrics)


def is_good(metrics: dict[str, Any]) -> bool:
    """Whether a metrics.json is of a registration, a poor one too."""
    return metrics.get("status") in ("ok", "poor")


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


def recognise_pair(identifier: str) -> Callable[[Path], IsOurs]:
    """Takes a folder for the result of the pair ``identifier`` by its metrics.json, and knows which files are ours.

    Everything else in it, such as what ``apply`` and ``view`` have written, is the user's.
    """

    def recognise(folder: Path) -> IsOurs:
        metrics = find_metrics(folder)
        if metrics is not None and metrics.get("id") == identifier and "status" in metrics:
            written = (metrics.get("run") or {}).get("files")
            if isinstance(written, list):
                return lambda name: name in written or ALWAYS_OURS.fullmatch(name) is not None
            return lambda name: OURS.fullmatch(name) is not None
        names = [file.name for file in folder.iterdir()]
        if METRICS in names and all(OURS.fullmatch(name) for name in names):  # damaged, nothing else is there
            return lambda name: OURS.fullmatch(name) is not None
        raise InputError(
            f"{folder} is not recognisable as an earlier result of the pair '{identifier}' and is not replaced; "
            "choose another output_dir or id, or move the folder away"
        )

    return recognise


def check_pair_folder(output_dir: Path, identifier: str) -> None:
    """Raise ``InputError`` unless the pair's folder is absent, empty or an earlier result of it."""
    check_replaceable(output_dir / identifier, recognise_pair(identifier))


def clear_leftovers(output_dir: Path, identifiers: Collection[str], files: Collection[str] = SUMMARIES) -> None:
    """Tidy up what stopped runs or killed processes left: hidden folders of these pairs, and of these files.

    Those of processes that are still running stay, and so does every file that is not ours.
    """
    clear_file_leftovers(output_dir, files)
    for identifier in identifiers:
        clear_file_leftovers(output_dir / identifier, [FAILED_ATTEMPT])
    clear_folder_leftovers(output_dir, identifiers, recognise_pair)


def read_stamp(output_dir: Path, identifier: str) -> str | None:
    """What tells one writing of a pair from another, None when there is none.

    The digest of its metrics.json, whose seconds never repeat: times and inodes differ between machines.
    """
    folder, stamp = output_dir / identifier, hashlib.sha256()
    try:
        stamp.update((folder / METRICS).read_bytes())
    except OSError:
        return None
    attempt = folder / FAILED_ATTEMPT
    if attempt.is_file():
        stamp.update(attempt.read_bytes())
    return stamp.hexdigest()


def read_failed_attempt(output_dir: Path, identifier: str) -> dict[str, Any] | None:
    """What became of a repeat that failed, where the good result before it was kept; None where there was none."""
    return find_object(output_dir / identifier / FAILED_ATTEMPT)


def publish(output_dir: Path, identifier: str, fill: Callable[[Path], None]) -> None:
    """Let ``fill`` write into a hidden folder, then put it in place of ``<output_dir>/<identifier>``.

    What was in an earlier result and is not ours stays in the folder.

    Raises:
        InputError: the folder is there and not an earlier result, or the output folder can't be written, or is full.
    """
    try:
        with atomic_folder(output_dir / identifier, recognise_pair(identifier)) as partial:
            fill(partial)
    except OSError as error:
        raise _unwritable(output_dir, error) from error


def publish_failure(output_dir: Path, identifier: str, metrics: dict[str, Any], fill: Callable[[Path], None]) -> bool:
    """Publish a failed attempt; beside a good result it is only noted. Returns whether there was a good one.

    Raises:
        InputError: as ``publish``.
    """
    earlier = find_metrics(output_dir / identifier)
    if earlier is None or earlier.get("id") != identifier or not is_good(earlier):
        publish(output_dir, identifier, fill)
        return False
    with atomic_path(output_dir / identifier / FAILED_ATTEMPT) as partial:
        partial.write_text(json.dumps(metrics, indent=1))
    return True


def written_in(folder: Path) -> list[str]:
    """What ``metrics.json`` says as ``run::files``, so that a later run can tell it from the user's files."""
    files = [file.relative_to(folder) for file in sorted(folder.rglob("*")) if file.is_file()]
    return [file.as_posix() for file in files if not file.parts[0].startswith(".")]
