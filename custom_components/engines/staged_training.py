"""A training in stages whose networks find the correspondences that guide the stages after them.

Source: Wei et al., "IPCG" (IEEE TMI 2024): matching and training alternate; fixed features guide the first network, the
features that it learned find more correspondences, which guide the next.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from math import cos, pi
from pathlib import Path
from shutil import copyfile
from typing import Any, TypeVar

import ignite.distributed as idist
import numpy as np
import torch
from monai.data import DataLoader, Dataset
from monai.engines import SupervisedTrainer
from monai.handlers import LrScheduleHandler, TensorBoardStatsHandler
from torch import Tensor, nn

from custom_components.common import booleans
from custom_components.common.arrays import SIDES
from custom_components.common.console import say
from custom_components.common.distributed import (
    is_follower,
    parallel,
    sampler,
)  # fmt: skip
from custom_components.common.errors import InputError
from custom_components.common.weights import load_pretrained
from custom_components.engines.keypoint_pairs import KeypointPairs
from custom_components.engines.pair_evaluator import to_pair_images
from custom_components.engines.training_pairs import stacked
from custom_components.fields import smooth
from custom_components.handlers.stop import StopWhenFlat
from custom_components.handlers.tensorboard import no_tensorboard
from custom_components.handlers.training import EpochSetter, FinalModel, TrainingCheckpoint, TrainingCurve
from custom_components.handlers.training_files import agree_on_training, check_model_file
from custom_components.inferers.all_levels import AllLevels, AllPredictions
from custom_components.losses.guided import GuidedLoss
from custom_components.matching.deep_keypoints import add_matches
from custom_components.matching.point_pairs import PointPairs
from custom_components.pairs.atomic import atomic_path
from custom_components.transforms.random_view import RandomView

FIXED = "fixed"  # the source of correspondences that needs no stage
LOWEST = 0.05  # share of the learning rate at the end of a stage

K = TypeVar("K")
V = TypeVar("V")
Matches = dict[str, PointPairs]
Matching = Callable[..., PointPairs]  # of moving and fixed image and their masks, such as CachedMatcher


@dataclass(frozen=True)
class TrainingStage:
    """One rung of the ladder.

    Attributes:
        name: of the stage, its folder and its weights.
        start: an earlier stage, or a file of weights.
        loss: with a weight for each source.
        sources: of correspondences: "fixed", or earlier stages whose encoders find them; each adds to those before.
        max_epochs: at most so many, where they are others than the schedule's.
        learning_rate: of Adam.
        cosine_decay: it falls to a twentieth by the last epoch, along half a cosine.
        patience: the stage ends when the loss of so many epochs in a row was not better than the best by
            ``improvement``.
        improvement: share of the loss.
        view: of the pairs, at their own size and, magnified, after a first pass of the network that the stage starts
            from; None shows them as they are.
        field_sigma: standard deviation of the Gaussian over that first pass's field, voxels; the inference's.
        min_match_gain: the schedule ends before this stage when its last source adds a smaller fraction of
            correspondences.
    """

    name: str
    start: str | Path
    loss: GuidedLoss
    sources: Sequence[str] = ()
    max_epochs: int | None = None
    learning_rate: float = 1e-4
    cosine_decay: bool = False
    patience: int = 3
    improvement: float = 0.005
    view: RandomView | None = None
    field_sigma: float = 10.0
    min_match_gain: float = 0.0


class StagedTraining:
    """Runs the stages in order; what is done is passed over, what was stopped goes on.

    The processes of a distributed training share the pairs, when they match as when they train, and average their
    gradients; the first one writes the files, into a folder that all of them see.

    Args:
        network: a copy of it is trained in every stage.
        stages: see ``TrainingStage``.
        pairs: dictionaries as ``engines.training_pairs`` gives.
        fixed_matcher: the source "fixed".
        learned_matcher: makes a matcher of a trained network.
        folder: of ``<stage>.pt`` and, in ``<stage>/``, checkpoint, curve, TensorBoard and ``matches.csv``.
        model_file: where the weights of the last stage go when the whole schedule is done.
        points: correspondences of a source and pair that an iteration sees.
        separation: voxels; correspondences of a later source nearer to known ones add nothing.
        seed: of order, turns, parts and views.
        amp: compute in bfloat16 where that is safe.
        device: of the training.
        record: of its data and options, see ``engines.training_record``; a folder goes on only with the same.
        max_epochs: of a stage, at most; an epoch sees every pair in both directions.
        overwrite: the model file is replaced even if it is the bundle's or another training's.

    Raises:
        InputError: a name is taken twice, or a stage builds on one that doesn't come before it.
    """

    def __init__(
        self,
        network: nn.Module,
        stages: Sequence[TrainingStage],
        pairs: Dataset,
        fixed_matcher: Matching,
        learned_matcher: Callable[[nn.Module], Matching],
        folder: str | Path,
        model_file: str | Path | None = None,
        points: int = 400,
        separation: float = 5.0,
        seed: int = 0,
        amp: bool = False,
        device: str | torch.device = "cpu",
        record: Mapping[str, Any] | None = None,
        overwrite: bool | str = False,
        max_epochs: int = 2,
    ) -> None:
        self.network = network
        self.stages = {stage.name: stage for stage in stages}
        names = [stage.name for stage in stages]
        for index, stage in enumerate(stages):
            if names.index(stage.name) != index or stage.name == FIXED:
                raise InputError(f"two sources of correspondences would have the name '{stage.name}'")
            unknown = set(stage.sources) - {FIXED, *names[:index]}
            if unknown:
                raise InputError(f"stage '{stage.name}' takes matches of {sorted(unknown)}, which come not before it")
        self.pairs = pairs
        self.fixed_matcher = fixed_matcher
        self.learned_matcher = learned_matcher
        self.folder = Path(folder)
        self.model_file = model_file
        self.points = points
        self.separation = separation
        self.seed = seed
        self.amp = amp
        self.device = torch.device(device)
        self.record = record
        self.overwrite = booleans.parse_bool(overwrite, "overwrite")
        self.max_epochs = max_epochs

    def run(self, stage: str | None = None, generate_keypoints: str | None = None) -> None:
        """Train all stages, or one, or only find the correspondences of one source.

        Args:
            stage: train this one; those that it builds on must be done.
            generate_keypoints: "fixed" or a finished stage: its correspondences are found and kept by the matcher's
                cache, nothing is trained.

        Raises:
            InputError: there are no pairs, no such stage, one that it builds on is not done, or the folder or the
                model file is another training's.
        """
        if len(self.pairs) == 0:
            raise InputError("no pairs to train on: give --pairs TABLE.csv")
        for name in (stage, generate_keypoints):
            if name not in (None, FIXED, *self.stages):
                raise InputError(f"unknown stage '{name}'; there are {', '.join(self.stages)}")
        begun = agree_on_training(self.folder / "training.json", self.record, write=not is_follower())
        if stage is None and self.model_file is not None:
            check_model_file(Path(self.model_file), begun or self.record is None, self.overwrite)
        _say(f"training in {self.folder}")
        if generate_keypoints is not None:
            found = self.matches([generate_keypoints])[0]
            _say(f"{generate_keypoints}: {_mean(found):.0f} correspondences a pair in {len(found)} pairs")
            return
        last = None
        for each in self.stages.values() if stage is None else [self.stages[stage]]:
            if self.weights_path(each.name).exists():
                _say(f"{each.name}: done already, {self.weights_path(each.name)}")
            elif not self._train(each):
                break
            last = each.name
        if stage is None and last is not None and self.model_file is not None and not is_follower():
            Path(self.model_file).parent.mkdir(parents=True, exist_ok=True)
            with atomic_path(Path(self.model_file)) as temporary:
                copyfile(self.weights_path(last), temporary)

    def weights_path(self, stage: str) -> Path:
        """The file of a stage's weights."""
        return self.folder / f"{stage}.pt"

    def matches(self, sources: Sequence[str]) -> list[Matches]:
        """What each source adds to those before it, by the pair's id, in voxels of the working images.

        Raises:
            InputError: a source is a stage that is not done.
        """
        known: Matches = {}
        added: list[Matches] = []
        for source in sources:
            matcher = self._matcher(source)
            mine: Matches = {}
            new: Matches = {}
            for data in self._share():
                images = to_pair_images(data, self.device)
                name = data["pair"].id
                before = known.get(name, PointPairs.empty())
                found = matcher(images.moving, images.fixed, images.moving_mask, images.fixed_mask)
                mine[name] = add_matches(before, found, self.separation)
            for name, union in _of_all(mine).items():
                new[name] = union.select(torch.arange(len(known.get(name, ())), len(union)))
                known[name] = union
            added.append(new)
        return added

    def _share(self) -> list[dict[Any, Any]]:
        """The pairs that this process matches; all of them together match every pair once."""
        return [self.pairs[index] for index in range(idist.get_rank(), len(self.pairs), idist.get_world_size())]

    def _matcher(self, source: str) -> Matching:
        if source == FIXED:
            return self.fixed_matcher
        return self.learned_matcher(self._network(self._finished(source)).eval())

    def _finished(self, stage: str) -> Path:
        file = self.weights_path(stage)
        if not file.exists():
            raise InputError(f"stage '{stage}' is not done: {file} does not exist; train it first, --stage {stage}")
        return file

    def _network(self, weights: str | Path) -> nn.Module:
        return load_pretrained(deepcopy(self.network), weights).to(self.device)

    def _train(self, stage: TrainingStage) -> bool:
        """Whether the schedule goes on: not when matching has converged."""
        start = self._finished(str(stage.start)) if str(stage.start) in self.stages else stage.start
        matches = self.matches(stage.sources)
        self._record(stage, matches)
        if len(matches) > 1:
            fraction = _mean(matches[-1]) / max(sum(_mean(part) for part in matches[:-1]), 1e-9)
            if fraction < stage.min_match_gain:
                _say(f"{stage.name}: {stage.sources[-1]} adds {fraction:.1%} of correspondences only; converged")
                return False
        network = self._network(start)
        fields = None if stage.view is None else self._first_pass(network, stage.field_sigma)
        dataset = KeypointPairs(self.pairs, matches, self.points, view=stage.view, fields=fields, seed=self.seed)
        epochs = self.max_epochs if stage.max_epochs is None else stage.max_epochs
        optimizer = torch.optim.Adam(network.parameters(), lr=stage.learning_rate)
        part = sampler(dataset)
        rate = partial(_half_cosine, total=epochs * len(part or dataset)) if stage.cosine_decay else _constant
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, rate)  # keeps no total, so more epochs may be asked
        stop = StopWhenFlat(stage.patience, stage.improvement)
        folder = self.folder / stage.name
        loss_terms, board = stage.loss.logged_terms, str(folder / "tensorboard")
        parts = {"network": network, "optimizer": optimizer, "scheduler": scheduler, "stop": stop}
        trainer = SupervisedTrainer(
            device=self.device,
            max_epochs=epochs,
            train_data_loader=DataLoader(dataset, batch_size=1, sampler=part),
            network=parallel(AllPredictions(network), find_unused_parameters=True),
            optimizer=optimizer,
            loss_function=stage.loss.to(self.device),
            inferer=AllLevels(self.amp),
            prepare_batch=_prepare,
            decollate=False,
            train_handlers=[
                EpochSetter(dataset),
                LrScheduleHandler(scheduler, print_lr=False, epoch_level=False),
                stop,
                *([] if no_tensorboard() else [TensorBoardStatsHandler(log_dir=board, output_transform=loss_terms)]),
                TrainingCurve(folder / "curve.csv", loss_terms),
                TrainingCheckpoint(folder / "checkpoint.pt", parts),
                FinalModel(self.weights_path(stage.name), network),
            ],
        )
        _say(f"{stage.name}: {', '.join(stage.sources) or 'no correspondences'}, from {start}")
        trainer.run()
        idist.barrier()
        return True

    @torch.no_grad()
    def _first_pass(self, network: nn.Module, field_sigma: float) -> dict[tuple[str, bool], Tensor]:
        """The fields of all pairs in both directions, in half precision: they only place what is learned from."""
        network.eval()
        fields = {}
        for data in self._share():
            for backwards in (False, True):
                image = stacked(data, "working", SIDES[::-1] if backwards else SIDES)[None].to(self.device)
                with torch.autocast(self.device.type, torch.bfloat16, enabled=self.amp):
                    found = network(image)
                fields[data["pair"].id, backwards] = smooth(found.float(), field_sigma)[0].half().cpu()
        return _of_all(fields)

    def _record(self, stage: TrainingStage, matches: Sequence[Matches]) -> None:
        """How many correspondences of each source a pair has."""
        if is_follower():
            return
        file = self.folder / stage.name / "matches.csv"
        file.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(file) as temporary, temporary.open("w", newline="") as stream:
            writer = csv.writer(stream)
            writer.writerow(["id", *stage.sources])
            for data in self.pairs:
                name = data["pair"].id
                writer.writerow([name, *(len(part[name]) for part in matches)])


def _say(text: str) -> None:
    """One line on the console, however many processes train."""
    if not is_follower():
        say(text)


def _of_all(mine: Mapping[K, V]) -> dict[K, V]:
    """What all processes found."""
    return {name: value for part in idist.all_gather(dict(mine)) for name, value in part.items()}


def _constant(step: int) -> float:
    return 1.0


def _half_cosine(step: int, total: int) -> float:
    """Factor on the learning rate: 1 at the first of ``total`` steps, ``LOWEST`` after the last."""
    return LOWEST + (1 - LOWEST) * (1 + cos(pi * min(step / total, 1.0))) / 2


def _mean(matches: Mapping[str, PointPairs]) -> float:
    return float(np.mean([len(part) for part in matches.values()])) if matches else 0.0


def _prepare(
    batch: dict[str, Tensor], device: torch.device | str | None, non_blocking: bool = False, **_: Any
) -> tuple[Tensor, dict[str, Tensor]]:
    item = {name: value.to(device, non_blocking=non_blocking) for name, value in batch.items()}
    return item["image"], item
