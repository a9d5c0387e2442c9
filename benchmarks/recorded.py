"""Pairs with landmarks through histology_registration, for what is learned from what its last step saw."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from benchmarks.compare import pair_landmarks
from custom_components.bundles import open_bundle
from custom_components.engines.pair_evaluator import to_pair_images
from custom_components.inferers.ballot import Ballot
from custom_components.inferers.consensus import Consensus
from custom_components.inferers.result import Estimate, PairImages
from custom_components.matching.affine import apply_affine

BUNDLE = "histology_registration"
FOLDS = 5


class OfCase(Protocol):
    """What was recorded of a pair."""

    @property
    def case(self) -> str:
        """Tissue and block."""
        ...


OfCaseT = TypeVar("OfCaseT", bound=OfCase)


class Recording(Consensus):
    """The last step of the bundle, keeping what it was given and what it made of it.

    Attributes:
        estimate: what it began with.
        aligned: the pair after the affine.
        ballot: what was proposed.
        fitted: (1, 2, H, W) the common field, before any correction.
    """

    def __call__(self, images: PairImages, estimate: Estimate) -> Estimate:
        """See ``Consensus``."""
        self.estimate = estimate
        return super().__call__(images, estimate)

    def _fitted(self, aligned: PairImages, ballot: Ballot) -> Tensor:
        self.aligned, self.ballot = aligned, ballot
        self.fitted = super()._fitted(aligned, ballot)
        return self.fitted


@dataclass(frozen=True)
class Recorded:
    """One pair.

    Attributes:
        id: of the pair.
        case: tissue and block.
        images: as prepared.
        step: the last step, as it stands after the pair.
        fixed: (N, 2) voxels, the landmarks of the fixed image.
        wanted: (N, 2) voxels, their displacements after the affine.
    """

    id: str
    case: str
    images: PairImages
    step: Recording
    fixed: Tensor
    wanted: Tensor


def recorded(
    pairs: str, status: str | None, limit: int | None, changes: Mapping[str, Any], options: Mapping[str, Any]
) -> Iterator[Recorded]:
    """Register the pairs one after another; those in several pieces are left out.

    Args:
        pairs: pair table with ``tissue`` and ``block``; both landmark files of each pair.
        status: of the rows taken.
        limit: only the first pairs.
        changes: arguments of the last step to replace; an error is never estimated.
        options: keys of the bundle.
    """
    config = open_bundle(BUNDLE, **{"pairs": pairs, "status": status, "resume": False} | dict(options)).parser()
    name = f"{Recording.__module__}.{Recording.__name__}"
    config["inferer"]["steps"][-1] |= {"_target_": name, "error_model": None} | dict(changes)
    dataset, prepare, inferer = (config.get_parsed_content(key) for key in ("dataset", "preprocessing", "inferer"))
    step = inferer.steps[-1]
    named = pd.read_csv(pairs, dtype=str).fillna("").set_index("id")
    for item in dataset.data[:limit]:
        pair = item["pair"]
        images = to_pair_images(prepare(item), torch.device("cpu"))
        assert images.origin is not None
        if any(stage.name == "pieces" for stage in inferer(images).stages):
            continue
        marks = pair_landmarks(pair, images.origin.fixed.shape[1:])
        moving, fixed = (
            torch.from_numpy(np.asarray(grid.index(points[index][:, ::-1]), np.float64))
            for grid, points, index in (
                (images.origin.moving_grid, marks.moving, marks.match.moving),
                (images.origin.fixed_grid, marks.fixed, marks.match.fixed),
            )
        )
        wanted = apply_affine(np.asarray(np.linalg.inv(step.estimate.affine)), moving) - fixed
        case = f"{named.loc[pair.id, 'tissue']} {named.loc[pair.id, 'block']}"
        yield Recorded(pair.id, case, images, step, fixed, wanted)


def left_out(found: Sequence[OfCaseT], folds: int | None = None) -> Iterator[tuple[list[OfCaseT], list[OfCaseT]]]:
    """What to fit on and what to check by, whole tissue cases at a time."""
    folds = FOLDS if folds is None else folds
    cases = np.array(sorted({one.case for one in found}))
    for turn in range(folds):
        out = set(cases[turn::folds])
        yield [one for one in found if one.case not in out], [one for one in found if one.case in out]


def save_fitted(network: nn.Module, found: Sequence[OfCase], to: str) -> str:
    """Write the state dict of a network that was fitted to all of ``found``, and say of how many pairs."""
    torch.save(network.state_dict(), to)
    return f"{to}: {len(found)} pairs of {len({one.case for one in found})} tissue cases"


def error_table(found: Sequence[OfCase], rows: Mapping[str, Sequence[Tensor]]) -> list[str]:
    """Markdown: means over pairs of the mean and the median of each row's errors (N,)."""
    lines = [f"| {len(found)} pairs | mean error | median error |", "| --- | --- | --- |"]
    for name, errors in rows.items():
        mean, median = np.mean([(float(error.mean()), float(error.median())) for error in errors], axis=0)
        lines.append(f"| {name} | {mean:.5f} | {median:.5f} |")
    return lines
