"""Runs an inferer over pairs of images on Ignite, one after another or on the processes of a cluster."""

from __future__ import annotations

import sys
from collections.abc import Callable, Hashable, Mapping, Sequence
from itertools import chain
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import torch
from ignite.engine import Engine, Events
from monai.data import DataLoader, Dataset
from monai.engines import Evaluator

from custom_components.annotations import check_annotations
from custom_components.bundles.current import current_config
from custom_components.bundles.keys import check_current
from custom_components.common import booleans
from custom_components.common.console import begin, counted, say, stage
from custom_components.common.errors import InputError
from custom_components.common.stopping import stopped_by_signals
from custom_components.fields import Grid
from custom_components.inferers.evidence import scored
from custom_components.inferers.result import PairImages, PairOrigin, Registration
from custom_components.outputs.attempts import Attempt, clear_attempts, ordered, read_death
from custom_components.outputs.identity import read_run_settings, recorded
from custom_components.outputs.outcome import PairOutcome, failure_reason
from custom_components.outputs.pair_folder import check_writable, clear_leftovers
from custom_components.outputs.targets import check_summaries, check_targets, name_apart, pairs_to_do
from custom_components.outputs.writer import versions
from custom_components.pairs import (
    Pair,
    check_pair,
    match_landmarks,
    read_landmarks,
    select_pairs,
)  # fmt: skip
from custom_components.pairs.volume_points import as_landmarks, is_markups, read_volume_points

if TYPE_CHECKING:
    from custom_components.engines.cluster import Cluster

Data = dict[Hashable, Any]


class PairDataset(Dataset):
    """Dataset of ``{"pair": Pair}``.

    Args:
        todo: the pairs to register.
        pairs: all pairs that were asked for, with those that are done; none for a config that was given no images.
        output_dir: where their folders are.
        refused: why a pair is not tried, by its id: earlier attempts ended their processes.
    """

    def __init__(
        self, todo: Sequence[Pair], pairs: Sequence[Pair], output_dir: str | Path,
        refused: Mapping[str, str] | None = None,
    ) -> None:  # fmt: skip
        super().__init__([{"pair": pair} for pair in todo])
        self.refused = dict(refused or {})
        self.pairs = tuple(pairs)
        self.output_dir = Path(output_dir)


def pair_dataset(output_dir: str | Path, resume: bool = True, **selection: Any) -> PairDataset:
    """Dataset of the pairs that the command line names and that are not done yet.

    Done is what an earlier run made of the same files with the same bundle, weights and options.

    Args:
        output_dir: where finished pairs are looked for.
        resume: pass over the finished ones.
        selection: arguments of ``select_pairs``; when none names an image the dataset is empty, so that a config can
            be parsed without data.

    Raises:
        SystemExit: with the message of the InputError, for one clear line on the console: the table or the arguments
            are wrong, the output folder can't be written, or something else than an earlier result of a pair lies
            where its result would, which is better said before than after the work.
    """
    check_current()
    if all(selection.get(key) is None for key in ("pairs", "moving", "fixed")):
        return PairDataset((), (), output_dir)
    root = Path(output_dir)
    try:
        going_on, chosen = booleans.parse_bool(resume, "resume"), select_pairs(**selection)
        check_writable(root)
        clear_leftovers(root, {pair.id for pair in chosen})
        if selection.get("pairs") is None and not selection.get("id"):
            chosen = [name_apart(pair, root) for pair in chosen]
        check_targets(chosen, root, selection.get("pairs"))
        check_summaries(root)
        todo = pairs_to_do(chosen, root, read_run_settings(current_config()), versions(), going_on)
        found = ((pair.id, read_death(root, pair)) for pair in todo) if going_on else ()
        deaths = {name: death for name, death in found if death is not None}
        todo = ordered(todo, deaths)
        clear_attempts(root, {pair.id for pair in chosen} - {pair.id for pair in todo})
        reasons = {pair.id: deaths[pair.id].reason(pair) for pair in todo if pair.id in deaths}
    except InputError as error:
        sys.exit(f"error: {error}")
    done = len(chosen) - len(todo)
    if done:
        say(
            f"{done} of {counted(len(chosen), 'pair')} {'is' if done == 1 else 'are'} in {output_dir} already; "
            "--resume false repeats what is done"
        )
    return PairDataset(todo, chosen, output_dir, {name: reason for name, reason in reasons.items() if reason})


def check_attached(pair: Pair) -> None:
    """Raise ``InputError`` when landmarks or annotations of the pair are wrong, before the work rather than after."""
    check_pair(pair)
    files = ((pair.moving_landmarks, "moving"), (pair.fixed_landmarks, "fixed"))
    # of volumes as well, of which ReadPaird looks at the rest
    marks = [
        as_landmarks(read_volume_points(file)) if is_markups(file) else read_landmarks(file, side)
        for file, side in files
        if file is not None
    ]
    if len(marks) == 2:
        match_landmarks(marks[0], marks[1])
    for objects in (pair.moving_annotations, pair.fixed_annotations):
        if objects is not None:
            check_annotations(objects)


def to_pair_images(data: Data, device: torch.device) -> PairImages:
    """The prepared images and masks of a pair as plain tensors on ``device``."""
    keys = ("working_moving", "working_fixed", "mask_moving", "mask_fixed")
    moving, fixed, *masks = (torch.as_tensor(data[key])[None].as_subclass(torch.Tensor).to(device) for key in keys)
    return PairImages(moving, fixed, masks[0], masks[1], read_origin(data))


def read_origin(data: Data) -> PairOrigin | None:
    """Where a prepared pair comes from; None where it was not read by ``ReadPaird``."""
    if "pair" not in data or "moving" not in data or "unit" not in data:
        return None
    moving_grid, fixed_grid = (Grid.of(data[f"working_{side}"]) for side in ("moving", "fixed"))
    return PairOrigin(data["pair"], data["moving"], data["fixed"], moving_grid, fixed_grid, data["unit"])


def register_pair(
    pair: Pair,
    preprocessing: Callable[[Data], Data],
    inferer: Callable[[PairImages], Registration],
    device: torch.device,
) -> PairOutcome:
    """Read, prepare and register one pair; whatever goes wrong is the outcome's reason. The result is on the CPU.

    Args:
        pair: to register.
        preprocessing: from ``{"pair": Pair}`` to the keys of ``transforms.dictionary``.
        inferer: from ``PairImages`` to ``Registration``.
        device: where image tensors are put.
    """
    start = perf_counter()
    try:
        stage("reading")
        pair = recorded(pair)
        check_attached(pair)
        data = preprocessing({"pair": pair})
        registration = scored(inferer)(to_pair_images(data, device)).cpu()
    except Exception as error:  # a defect of ours or of a library must not end a cohort of hundreds either
        return PairOutcome(pair, perf_counter() - start, reason=failure_reason(error, pair), error=error)
    return PairOutcome(pair, perf_counter() - start, data, registration)


class PairEvaluator(Evaluator):
    """Reads, prepares and registers each pair; a pair that fails is reported and the run goes on.

    Args:
        dataset: of ``{"pair": Pair}``, such as ``pair_dataset`` gives.
        preprocessing: from that to the keys of ``transforms.dictionary``.
        inferer: from ``PairImages`` to ``Registration``.
        device: where image tensors are put.
        handlers: Ignite handlers; they find a ``PairOutcome`` in ``engine.state.output``.
        cluster: processes that register and write the pairs instead of this one; an iteration is then a pair that one
            of them has ended, in the order in which they end.
    """

    def __init__(
        self,
        dataset: PairDataset,
        preprocessing: Callable[[Data], Data],
        inferer: Callable[[PairImages], Registration],
        device: torch.device | str = "cpu",
        handlers: Sequence[Any] = (),
        cluster: Cluster | None = None,
    ) -> None:
        loader = DataLoader(dataset, batch_size=1, collate_fn=list)
        super().__init__(
            device=torch.device(device), val_data_loader=loader, epoch_length=len(dataset) or None,
            iteration_update=self._register, val_handlers=list(handlers),
        )  # fmt: skip
        self.dataset = dataset
        self.preprocessing = preprocessing
        self.inferer = inferer
        self.cluster = cluster
        self.outcomes: list[tuple[str, str]] = []
        self._attempt: Attempt | None = None
        self.add_event_handler(Events.ITERATION_COMPLETED, self._remember)

    def _register(self, engine: Engine, batch: list[Data] | PairOutcome) -> PairOutcome:
        if isinstance(batch, PairOutcome):
            return batch
        pair = batch[0]["pair"]
        begin(engine.state.iteration, engine.state.epoch_length, pair.id)
        if pair.id in self.dataset.refused:
            return PairOutcome(pair, 0.0, reason=self.dataset.refused[pair.id])
        self._attempt = Attempt(self.dataset.output_dir, pair)
        return register_pair(pair, self.preprocessing, self.inferer, torch.device(engine.state.device))

    def _remember(self, engine: Engine) -> None:
        outcome: PairOutcome = engine.state.output
        self._end_attempt()
        # a handler that could not write the pair replaces the output, so handlers have run by now
        self.outcomes.append((outcome.pair.id, outcome.reason))

    def _end_attempt(self) -> None:
        if self._attempt is not None:
            self._attempt.end()
            self._attempt = None

    def run(self, global_epoch: int = 1) -> None:
        """Register all pairs.

        Raises:
            SystemExit: no images were given, or every pair of this run failed; the message says why.
        """
        if not self.dataset.pairs:
            sys.exit("error: give --moving IMAGE and --fixed IMAGE, or --pairs TABLE.csv")
        if len(self.dataset) == 0:
            # the run that did the last pair may have been stopped before it wrote the summary
            self.fire_event(Events.COMPLETED)
            return
        with stopped_by_signals("finished pairs are whole; the same command resumes with the others"):
            self._run(global_epoch)
        failed = [(name, reason) for name, reason in self.outcomes if reason]
        if failed and len(failed) == len(self.outcomes):
            sys.exit("\n".join(f"error: {name}: {reason}" for name, reason in failed))

    def _run(self, global_epoch: int) -> None:
        try:
            pairs, refused = [item["pair"] for item in self.dataset.data], self.dataset.refused
            tried = [pair for pair in pairs if pair.id not in refused]
            if self.cluster is not None and self.cluster.wanted and tried:
                with self.cluster.outcomes(tried, self.dataset.output_dir) as ended:
                    others = (PairOutcome(pair, 0.0, reason=refused[pair.id]) for pair in pairs if pair.id in refused)
                    self.data_loader = chain(ended, others)
                    super().run(global_epoch)
            else:
                super().run(global_epoch)
        finally:
            self._end_attempt()
