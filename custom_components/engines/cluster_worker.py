"""What a worker process of a cluster does: all of a pair, from its files to its folder."""

from __future__ import annotations

import os
import threading
from contextlib import chdir
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from custom_components.bundles.current import build_arguments
from custom_components.common.errors import InputError
from custom_components.common.limits import Limits, applied
from custom_components.engines.devices import limit_threads
from custom_components.engines.pair_evaluator import register_pair
from custom_components.outputs.attempts import Attempt
from custom_components.outputs.outcome import PairOutcome
from custom_components.outputs.pair_folder import read_failed_attempt, read_stamp
from custom_components.pairs import Pair
from custom_components.results.record import find_metrics

ARGUMENTS = ("preprocessing", "inferer", "device", "handlers")  # of the evaluator, all that a pair needs


@dataclass(frozen=True)
class Job:
    """What the pairs of one run share; small, as every task carries it.

    Attributes:
        token: names the run.
        config: of the bundle, with the key ``evaluator``.
        folder: the run's current folder, to which the paths of the config and of the pairs are relative.
        output_dir: of the run.
        limits: of what is read, see ``common.limits``.
        share_gpus: give each process one of the machine's GPUs by its number; else all see what their environment says.
    """

    token: str
    config: dict[str, Any]
    folder: Path
    output_dir: Path
    share_gpus: bool = False
    limits: Limits = field(default_factory=Limits)


@dataclass(frozen=True)
class _Parts:
    token: str
    arguments: dict[str, Any]


_turn = threading.Lock()  # the parts, the current folder and the libraries' threads belong to the process
_parts: list[_Parts] = []


def register_and_write(pair: Pair, before: str | None, job: Job) -> PairOutcome:
    """Register one pair and write its folder; the outcome holds the metrics and no images.

    Args:
        pair: to register.
        before: ``read_stamp`` the pair when the run began. When another one is found, an attempt whose process died
            had written the pair already, and that is the outcome.
        job: the run.

    Raises:
        InputError: this machine lacks the run's folder, or the config can't be built on it; nothing about the pair.
    """
    with _turn, _in_folder(job.folder), applied(**asdict(job.limits)):
        if read_stamp(job.output_dir, pair.id) != before:
            metrics = read_failed_attempt(job.output_dir, pair.id) or find_metrics(job.output_dir / pair.id)
            if metrics is not None:
                reason = metrics["reason"] if metrics["status"] == "failed" else ""
                return PairOutcome(pair, metrics["seconds"]["total"], reason=reason, metrics=metrics)
        arguments = _command_arguments(job)
        device = torch.device(arguments["device"])
        attempt = Attempt(job.output_dir, pair)
        try:
            outcome = register_pair(pair, arguments["preprocessing"], arguments["inferer"], device)
            for handler in arguments["handlers"]:
                if hasattr(handler, "write"):
                    outcome = handler.write(outcome)
        finally:
            attempt.end()
    return replace(outcome, data=None, registration=None, error=None)  # not every error can be sent


def forget(token: str) -> None:
    """Drop what a run has built in this process, above all networks on a GPU; not while a pair is registered."""
    if not _turn.acquire(blocking=False):
        return
    try:
        if _parts and _parts[0].token == token:
            _parts.clear()
            if torch.cuda.is_initialized():
                torch.cuda.empty_cache()
    finally:
        _turn.release()


def assign_gpu(number: int, visible: str | None, count: int) -> str | None:
    """CUDA_VISIBLE_DEVICES of a machine's process ``number``, so that its GPUs share the processes evenly.

    Args:
        number: of the process, from 0 on.
        visible: CUDA_VISIBLE_DEVICES of them all, or None.
        count: of GPUs that they see.

    Returns:
        None when there is nothing to choose from.
    """
    if count < 2:
        return None
    return (visible.split(",") if visible else [str(gpu) for gpu in range(count)])[number % count]


def _in_folder(folder: Path) -> chdir[Path]:
    if not folder.is_dir():
        raise InputError(
            f"folder {folder} does not exist on the worker's machine ({os.uname().nodename}); "
            "all machines of a cluster must see the bundle, the images and the output folder under the same paths"
        )
    return chdir(folder)


def _command_arguments(job: Job) -> dict[str, Any]:
    """The evaluator's arguments, built by the first pair of a run in this process."""
    if not _parts or _parts[0].token != job.token:
        _parts.clear()
        if job.share_gpus:
            _take_one_gpu()
        limit_threads()
        try:
            arguments = build_arguments(job.config, "evaluator", ARGUMENTS)
        except Exception as error:
            raise InputError(f"the bundle can't be built on {os.uname().nodename}: {error}") from error
        _parts.append(_Parts(job.token, arguments))
    return _parts[0].arguments


def _take_one_gpu() -> None:
    from distributed import get_worker

    number, visible = str(get_worker().name), os.environ.get("CUDA_VISIBLE_DEVICES")
    chosen = assign_gpu(int(number), visible, torch.cuda.device_count()) if number.isdigit() else None
    if chosen is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = chosen
