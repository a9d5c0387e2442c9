"""What a run is about to write, checked before any work: nothing of the user's lies in its way."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path

from custom_components.common.console import say
from custom_components.common.errors import InputError
from custom_components.outputs.identity import RunSettings, differences, list_inputs, other_images, pending
from custom_components.outputs.pair_folder import SUMMARIES, check_pair_folder, is_good
from custom_components.pairs import Pair
from custom_components.pairs.table import check_ids
from custom_components.results.record import find_metrics

SUBMISSION = "submission"
RESERVED = (*SUMMARIES, SUBMISSION)
MARKS = {  # how our files begin, or what stands near their beginning
    "summary.csv": "id,status,reason,moving,fixed",
    "summary.json": '"pairs":',
    "index.html": "<title>Registration of ",
}


def check_targets(
    pairs: Sequence[Pair], output_dir: Path, table: str | Path | None = None, reserved: Collection[str] = RESERVED
) -> None:
    """Raise ``InputError`` when a pair's folder, or an output beside it, is not the run's to replace.

    Args:
        pairs: that would be written.
        output_dir: of the run.
        table: the file that names the pairs.
        reserved: names of the outputs beside the pairs' folders.
    """
    check_ids([pair.id for pair in pairs], _source(table), reserved)
    # of ten thousand pairs: strings, and each folder looked at once
    root, places = os.path.realpath(output_dir), _Places()
    written = {os.path.realpath(output_dir / name) for name in reserved}
    for pair in pairs:
        target = os.path.join(root, pair.id, "")
        files = list_inputs(pair) | ({"pair table": Path(table)} if table is not None else {})
        for name, file in files.items():
            said, real = places.of(file)
            if not (said.startswith(root) or real.startswith(root)):
                continue
            what = f"{pair.source or pair.id}: {name.replace('_', ' ')} {file}"
            if real.startswith(target) or said.startswith(target):
                raise InputError(
                    f"{what} lies in {output_dir / pair.id}, the folder that the result would replace; "
                    "choose another id or output_dir"
                )
            if any(path == place or path.startswith(place + os.sep) for place in written for path in (real, said)):
                raise InputError(f"{what} is where the run writes its own {file.name}; choose another output_dir")
        check_pair_folder(output_dir, pair.id)


class _Places:
    """Paths of files as they are said, with all links of their folders followed, and with all links followed."""

    def __init__(self) -> None:
        self._folders: dict[str, str] = {}
        self._files: dict[Path, tuple[str, str]] = {}

    def of(self, file: Path) -> tuple[str, str]:
        """Both, of a file that may not exist."""
        if file not in self._files:
            folder, name = os.path.split(os.path.abspath(file))
            if folder not in self._folders:
                self._folders[folder] = os.path.realpath(folder)
            said = os.path.join(self._folders[folder], name)
            self._files[file] = said, os.path.realpath(said) if os.path.islink(said) else said
        return self._files[file]


def check_summaries(output_dir: Path) -> None:
    """Raise ``InputError`` when a file of the user's has the name of one that a run writes beside its pairs."""
    for name in SUMMARIES:
        file = output_dir / name
        if file.is_file() and not _begins_like(file, MARKS[name]):
            raise InputError(
                f"{file} is not an earlier {name} of a run and is not replaced; choose another output_dir, or move it"
            )
        if file.is_dir():
            raise InputError(f"{file} is a folder, a run writes a file there; choose another output_dir")


def check_submission(output_dir: Path) -> None:
    """Raise ``InputError`` when there is a folder ``submission`` that no run has written."""
    folder = output_dir / SUBMISSION
    results = folder / "registration-results.csv"
    if folder.exists() and not (results.is_file() and _begins_like(results, "Warped source landmarks")):
        if not folder.is_dir() or any(file.is_file() for file in folder.rglob("*")):
            raise InputError(f"{folder} is not an earlier submission of a run and is not written over; move it away")


def _begins_like(file: Path, mark: str) -> bool:
    with file.open(encoding="utf-8", errors="replace") as stream:
        return mark in stream.read(2000) or file.stat().st_size == 0


def _source(table: str | Path | None) -> str:
    return "command line" if table is None else Path(table).name


def name_apart(pair: Pair, output_dir: Path) -> Pair:
    """The pair under a name of its own, if its name, made of those of its files, is that of other files' result."""
    parent = pair.moving.resolve().parent.name
    digest = hashlib.sha256(f"{pair.moving.resolve()}\n{pair.fixed.resolve()}".encode()).hexdigest()[:8]
    for name in (pair.id, f"{parent}_{pair.id}", f"{pair.id}_{digest}"):
        other = other_images(find_metrics(output_dir / name) or {}, pair)
        if other is None:
            return replace(pair, id=name)
        say(f"{output_dir / name} holds the result of {other[0]}, not of {other[1]}; this pair gets another name")
    raise InputError(f"{output_dir} holds results of other files under every name of this pair; give --id")


def check_same_images(pairs: Sequence[Pair], output_dir: Path) -> None:
    """Raise ``InputError`` when a pair's folder holds the result of other images; the message has both paths."""
    for pair in pairs:
        other = other_images(find_metrics(output_dir / pair.id) or {}, pair)
        if other is not None:
            raise InputError(
                f"{pair.source + ': ' if pair.source else ''}{output_dir / pair.id} holds the result of {other[0]}, "
                f"not of {other[1]}; give the pair another id, or choose another output_dir"
            )


def pairs_to_do(
    pairs: Sequence[Pair], output_dir: Path, settings: RunSettings, versions: dict[str, str], resume: bool = True
) -> list[Pair]:
    """The pairs that no earlier run made of the same, with what their record will be made of; says why, line by line.

    Raises:
        InputError: a pair's folder holds the result of other images.
    """
    check_same_images(pairs, output_dir)
    todo = []
    for pair in pairs:
        metrics = find_metrics(output_dir / pair.id) or {}
        if is_good(metrics):
            reasons = differences(metrics.get("run"), pair, settings)
            if resume and not reasons:
                continue
            why = "; ".join(reasons[:6]) or "the same again"
            say(f"{pair.id}: done again in place of the result{_made(metrics)}: {why}")
        todo.append(replace(pair, run=pending(settings, versions)))
    return todo


def _made(metrics: dict[str, object]) -> str:
    run = metrics.get("run")
    return f" of {run['date']}" if isinstance(run, dict) and run.get("date") else " that was there"


def is_same_run(output_dir: Path, pair: Pair, settings: RunSettings) -> bool:
    """Whether an earlier run registered the pair, of the same files and in the same way."""
    metrics = find_metrics(output_dir / pair.id) or {}
    return is_good(metrics) and other_images(metrics, pair) is None and not differences(
        metrics.get("run"), pair, settings
    )  # fmt: skip


def has_result(output_dir: Path, pair: Pair) -> bool:
    """Whether an earlier run registered the pair's files, in whatever way."""
    metrics = find_metrics(output_dir / pair.id) or {}
    return is_good(metrics) and other_images(metrics, pair) is None
