"""What a training needs beside MONAI's handlers: a checkpoint of all, the epoch of random items, a curve that stays."""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from time import perf_counter
from typing import Any

import ignite.distributed as idist
import numpy as np
import torch
from ignite.engine import Engine, Events
from torch import Tensor, nn

from custom_components.common import booleans
from custom_components.common.console import say
from custom_components.common.distributed import is_follower
from custom_components.common.errors import InputError
from custom_components.common.stopping import stopped_by_signals
from custom_components.common.weights import read_state
from custom_components.handlers.training_files import check_model_file, check_same_training
from custom_components.pairs.atomic import atomic_path


def select_losses(output: Any) -> dict[str, float]:
    """The numbers in ``engine.state.output``; there may be none, as for a pair without contrast.

    Args:
        output: a dictionary, such as ``PatchTrainer`` leaves, or a list of one an item, all with the losses of their
            batch, as MONAI's ``SupervisedTrainer`` does.
    """
    item = output[0] if isinstance(output, list) else output
    return {
        name: float(value.detach() if isinstance(value, Tensor) else value)
        for name, value in item.items()
        if isinstance(value, int | float) or (isinstance(value, Tensor) and value.ndim == 0)
    }


class TrainingCheckpoint:
    """Keeps the whole state of a training after every epoch in one file, and goes on from it when a run starts.

    MONAI's saver and loader need the trainer by name, which a config can't give them: the trainer holds its handlers.
    Attach it after the handlers that step schedules. Every process of a distributed training reads the file, the first
    one writes it.

    Args:
        file: replaced as a whole, so a kill leaves the one before.
        parts: what has ``state_dict`` and ``load_state_dict``; lists of such are kept in order.
        record: of the training's data and options, see ``engines.training_record``; only one with the same resumes.
    """

    def __init__(self, file: str | Path, parts: Mapping[str, Any], record: Mapping[str, Any] | None = None) -> None:
        self.file = Path(file)
        self.record = record
        self._signals = ExitStack()
        self.parts: dict[str, Any] = {}
        for name, part in parts.items():
            if isinstance(part, list | tuple):
                self.parts |= {f"{name}_{index}": item for index, item in enumerate(part)}
            else:
                self.parts[name] = part

    def attach(self, engine: Engine) -> None:
        """Register with a trainer."""
        engine.add_event_handler(Events.STARTED, self.load)
        engine.add_event_handler(Events.STARTED, self._watch_signals)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self.save)
        engine.add_event_handler(Events.COMPLETED, self._forget_signals)
        engine.add_event_handler(Events.EXCEPTION_RAISED, self._failed)

    def _watch_signals(self, engine: Engine) -> None:
        how = f"--run_dir or --ckpt_dir of {self.file.parent} resumes after the last whole epoch"
        self._signals.enter_context(stopped_by_signals(how))

    def _forget_signals(self, engine: Engine) -> None:
        self._signals.close()

    def _failed(self, engine: Engine, error: BaseException) -> None:
        self._signals.close()
        raise error

    def save(self, engine: Engine) -> None:
        """Write the file."""
        if is_follower():
            return
        state = {name: part.state_dict() for name, part in self.parts.items()}
        state["epoch"] = engine.state.epoch
        if self.record is not None:
            state["training"] = dict(self.record)
        _save(state, self.file)

    def load(self, engine: Engine) -> None:
        """Take the file's states, if there is one.

        Raises:
            InputError: the file is damaged or belongs to another training.
        """
        if not self.file.exists():
            if not is_follower():
                say(f"training in {self.file.parent}")
            return
        state: dict[str, Any] = read_state(self.file, "checkpoint")
        foreign = f"{self.file} is not a checkpoint of this training; move it away to start afresh"
        missing = sorted({*self.parts, "epoch"} - set(state))
        if missing:
            raise InputError(f"{foreign}: it has no {', '.join(missing)}")
        check_same_training(self.file, state.get("training"), self.record)
        for name, part in self.parts.items():
            try:
                part.load_state_dict(state[name])
            except (AttributeError, KeyError, RuntimeError, TypeError, ValueError) as error:  # each part has its own
                raise InputError(f"{foreign}: {name}: {error}") from error
        engine.state.epoch = int(state["epoch"])
        engine.state.iteration = engine.state.epoch * engine.state.epoch_length
        if not is_follower():
            done, wanted = engine.state.epoch, engine.state.max_epochs
            how = "resuming after" if wanted is None or done < wanted else "complete already, at"
            say(f"{self.file}: {how} epoch {done} of {wanted}")


class FinalModel:
    """Writes a network's weights when the training is complete, and only then.

    MONAI's ``CheckpointSaver`` with ``save_final`` also writes when the training fails, so that a checkpoint that can't
    be read would replace a good model by an untrained one; and a kill may leave half a file.

    Args:
        file: written as a whole; that of another training, or of the bundle, is not replaced.
        network: whose state dict is written.
        overwrite: replace such a file all the same.
    """

    def __init__(self, file: str | Path, network: nn.Module, overwrite: bool | str = False) -> None:
        self.file = Path(file)
        self.network = network
        self.overwrite = booleans.parse_bool(overwrite, "overwrite")
        self._begun_at = 0

    def attach(self, engine: Engine) -> None:
        """Register with a trainer, after ``TrainingCheckpoint``."""
        engine.add_event_handler(Events.STARTED, self.check)
        engine.add_event_handler(Events.COMPLETED, self)

    def check(self, engine: Engine) -> None:
        """Before the training.

        Raises:
            InputError: another one's model, or the bundle's, would be replaced.
        """
        self._begun_at = engine.state.epoch
        check_model_file(self.file, self._begun_at > 0, self.overwrite)

    def __call__(self, engine: Engine) -> None:
        """Write the file, unless it is there and nothing was trained since."""
        if is_follower() or (self.file.exists() and engine.state.epoch == self._begun_at > 0):
            return
        _save(self.network.state_dict(), self.file)
        say(f"{self.file}: the final weights")


def _save(state: Mapping[str, Any], file: Path) -> None:
    """Write a file of PyTorch whole or not at all.

    Raises:
        InputError: it can't be written, as on a full disk.
    """
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(file) as temporary:
            torch.save(state, temporary)
    except (OSError, RuntimeError) as error:  # PyTorch's writer raises RuntimeError on a full disk
        raise InputError(f"{file}: can't be written ({str(error).splitlines()[0]})") from error


class EpochSetter:
    """Tells a dataset of random items which epoch begins; its items are then a function of seed and epoch.

    Args:
        dataset: with ``set_epoch``.
    """

    def __init__(self, dataset: Any) -> None:
        self.dataset = dataset

    def attach(self, engine: Engine) -> None:
        """Register with a trainer."""
        engine.add_event_handler(Events.EPOCH_STARTED, self)

    def __call__(self, engine: Engine) -> None:
        """Pass the epoch on."""
        self.dataset.set_epoch(engine.state.epoch)


class TrainingCurve:
    """Means of an epoch's losses in a CSV file, one row an epoch, and on the console.

    A training that is taken up again replaces the rows from its epoch on. The means are over all processes of a
    distributed training.

    Args:
        file: of the curve.
        output_transform: from the engine's output to the losses.
    """

    def __init__(
        self, file: str | Path, output_transform: Callable[[Any], Mapping[str, float]] = select_losses
    ) -> None:
        self.file = Path(file)
        self.output_transform = output_transform
        self.values: dict[str, list[float]] = defaultdict(list)
        self.start = perf_counter()

    def attach(self, engine: Engine) -> None:
        """Register with a trainer."""
        engine.add_event_handler(Events.EPOCH_STARTED, self._begin)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._collect)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._write)

    def _begin(self, engine: Engine) -> None:
        self.values.clear()
        self.start = perf_counter()

    def _collect(self, engine: Engine) -> None:
        for name, value in self.output_transform(engine.state.output).items():
            self.values[name].append(float(value))

    def _write(self, engine: Engine) -> None:
        values = figures_of_all(self.values)
        if is_follower():
            return
        row = {"epoch": engine.state.epoch, "seconds": round(perf_counter() - self.start, 1)}
        row |= {name: round(float(np.mean(figures)), 6) for name, figures in sorted(values.items())}
        rows = [old for old in self._rows() if int(old["epoch"]) < engine.state.epoch]
        names = list(dict.fromkeys(name for r in [*rows, row] for name in r))
        self.file.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(self.file) as temporary, temporary.open("w", newline="") as stream:
            writer = csv.DictWriter(stream, names)
            writer.writeheader()
            writer.writerows([*rows, row])
        say(", ".join(f"{name} {value}" for name, value in row.items()))

    def _rows(self) -> list[dict[str, Any]]:
        if not self.file.exists():
            return []
        with self.file.open(newline="") as stream:
            return list(csv.DictReader(stream))


def figures_of_all(values: Mapping[str, list[float]]) -> dict[str, list[float]]:
    """The values of all processes."""
    parts = idist.all_gather(dict(values))
    return {
        name: [v for part in parts for v in part.get(name, [])] for name in dict.fromkeys(n for p in parts for n in p)
    }


class SchedulerSteps:
    """Steps several learning-rate schedules at the end of every epoch.

    Args:
        schedulers: one an optimiser.
    """

    def __init__(self, schedulers: Sequence[Any]) -> None:
        self.schedulers = list(schedulers)

    def attach(self, engine: Engine) -> None:
        """Register with a trainer."""
        engine.add_event_handler(Events.EPOCH_COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        """Step them."""
        for scheduler in self.schedulers:
            scheduler.step()
