"""Learn from landmarks to correct the field of histology_registration by local costs, and check it on other cases.

    python -m benchmarks.displacement_decoder collect --pairs split.csv --status training --to costs.pt
    python -m benchmarks.displacement_decoder check --costs costs.pt
    python -m benchmarks.displacement_decoder fit --costs costs.pt \
        --to bundles/histology_registration/models/displacement_decoder.pt

``split.csv`` is by ``benchmarks.split``. ``check`` fits on four fifths of the tissue cases at a time and prints the
error at the landmarks of the rest before and after the correction, and how the stated spread ranks it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fire
import torch
from scipy.stats import spearmanr
from torch import Tensor

from benchmarks.recorded import error_table, left_out, recorded, save_fitted
from custom_components.fields import sample_at
from custom_components.inferers.correction import shrunk, with_votes
from custom_components.inferers.local_costs import local_costs
from custom_components.networks.displacement_decoder import DisplacementDecoder

NEAR = 1e-3  # share of the diagonal: below it an error is as good as none
EPOCHS = 12
BATCH = 256
RATE = 2e-3
DECAY = 1e-2
VIEWS = 8  # turns by 90 degrees and mirror images


@dataclass(frozen=True)
class Costs:
    """Local costs about a field at the landmarks of one pair.

    Attributes:
        id: of the pair.
        case: tissue and block.
        diagonal: of the tissue, voxels.
        here: one (N, C, K, K) a level.
        means: one (C, K, K) a level, over the tissue.
        wanted: (N, 2) voxels, the displacements that would correct the field.
    """

    id: str
    case: str
    diagonal: float
    here: tuple[Tensor, ...]
    means: tuple[Tensor, ...]
    wanted: Tensor


def collect(pairs: str, to: str, status: str | None = None, limit: int | None = None, **options: Any) -> str:
    """Register the pairs without correction and keep the costs at each landmark.

    Args:
        pairs: pair table with ``tissue`` and ``block``; both landmark files of each pair.
        to: file of the ``Costs``.
        status: of the rows taken.
        limit: only the first pairs.
        options: keys of the bundle.

    Returns:
        How many pairs and landmarks there are. Pairs in several pieces are left out.
    """
    found: list[Costs] = []
    for one in recorded(pairs, status, limit, {"decoder": None}, options):
        small, factor = shrunk(one.step.aligned, one.step.fitted)
        costs = local_costs(small)
        scaled = (one.fixed.float() + 0.5) * factor - 0.5
        here, tissue = (
            with_votes(planes, one.step.ballot, one.step.fitted, points, factor)
            for points, planes in ((scaled, costs.at(scaled)), costs.on_tissue())
        )
        means = (level.mean(0).half() for level in tissue)
        wanted = corrections(one.step.fitted, one.fixed, one.wanted) * factor
        found.append(
            Costs(one.id, one.case, small.diagonal, tuple(level.half() for level in here), tuple(means), wanted.float())
        )
        print(f"{one.id} {one.case}: {wanted.norm(dim=1).mean() / small.diagonal:.5f} to correct", flush=True)
        torch.save([vars(costs) for costs in found], to)  # a stopped run keeps what it has
    return f"{len(found)} pairs, {sum(len(costs.wanted) for costs in found)} landmarks in {to}"


def corrections(field: Tensor, points: Tensor, wanted: Tensor, iterations: int = 8) -> Tensor:
    """(N, 2) s with ``s + field(x + s) = wanted``: what, composed with the field, takes points x where they belong."""
    step = torch.zeros_like(wanted)
    for _ in range(iterations):
        step = wanted - sample_at(field.to(points), points + step)
    return step


def seen_as(planes: Sequence[Tensor], view: int) -> list[Tensor]:
    """Costs (N, C, K, K) a level as those of the images in one of eight views."""
    found = list(planes)
    for bit, axis in ((1, 2), (2, 3)):
        if view & bit:
            found = [level.flip(axis) for level in found]
    return [level.transpose(2, 3) for level in found] if view & 4 else found


def moved_as(displacements: Tensor, view: int) -> Tensor:
    """Displacements (N, 2) in that view."""
    signs = torch.tensor([-1.0 if view & 1 else 1.0, -1.0 if view & 2 else 1.0])
    return (displacements * signs).flip(1) if view & 4 else displacements * signs


def train(found: Sequence[Costs], seed: int = 0, epochs: int | None = None) -> DisplacementDecoder:
    """A decoder with the smallest mean logarithm of the error; every pair counts the same."""
    torch.manual_seed(seed)
    epochs = EPOCHS if epochs is None else epochs
    here = [torch.cat(level) for level in zip(*(one.here for one in found), strict=True)]
    means = [torch.stack(level) for level in zip(*(one.means for one in found), strict=True)]
    counts = torch.tensor([len(one.wanted) for one in found])
    pair = torch.repeat_interleave(torch.arange(len(found)), counts)
    wanted = torch.cat([one.wanted for one in found])
    diagonal = torch.tensor([one.diagonal for one in found])[pair]
    weight = 1 / counts[pair]
    weight = weight / weight.mean()
    network = DisplacementDecoder()
    network.standardise_by([level[::7].float() for level in here])
    optimizer = torch.optim.AdamW(network.parameters(), RATE, weight_decay=DECAY)
    steps = -(-len(wanted) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=epochs * steps)
    for _ in range(epochs):
        for index in torch.randperm(len(wanted)).split(BATCH):
            view = int(torch.randint(VIEWS, ()))
            planes = (
                seen_as([level[rows].float() for level in levels], view)
                for levels, rows in ((here, index), (means, pair[index]))
            )
            found_there, spread = network(*planes)
            error = (found_there - moved_as(wanted[index], view)).norm(dim=1)
            # the spread learns from the error but does not excuse it
            stated = error.detach() / spread + torch.log(spread)
            loss = (weight[index] * (torch.log(error / diagonal[index] + NEAR) + stated)).mean()
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]  # torch's
            optimizer.step()
            schedule.step()
    return network.eval().requires_grad_(False)


def read(file: str | Path) -> list[Costs]:
    """What ``collect`` wrote."""
    return [Costs(**one) for one in torch.load(file, weights_only=True)]


def errors(network: DisplacementDecoder, one: Costs) -> tuple[Tensor, Tensor, Tensor]:
    """(N,) before, after, and as stated, shares of the diagonal."""
    means = [level.float().expand(len(one.wanted), *level.shape) for level in one.means]
    found, spread = network([level.float() for level in one.here], means)
    parts = (one.wanted.norm(dim=1), (found - one.wanted).norm(dim=1), spread)
    before, after, stated = (part / one.diagonal for part in parts)
    return before, after, stated


def check(costs: str) -> str:
    """Markdown: means over pairs of the mean and the median error, on cases left out of the fit."""
    found = read(costs)
    rows: list[tuple[Tensor, Tensor, Tensor]] = []
    for known, others in left_out(found):
        network = train(known)
        rows += [errors(network, one) for one in others]
    before, after, stated = zip(*rows, strict=True)
    won = sum(bool(new.mean() < old.mean()) for old, new in zip(before, after, strict=True))
    places = spearmanr(torch.cat(stated).numpy(), torch.cat(after).numpy()).statistic
    whole = spearmanr(*([float(part.mean()) for part in parts] for parts in (stated, after))).statistic
    return "\n".join((
        *error_table(found, {"as voted": before, "corrected, other cases": after}),
        "",
        f"better on {won} pairs; rank of the stated spread {places:.3f} over landmarks, {whole:.3f} over pairs",
    ))  # fmt: skip


def fit(costs: str, to: str) -> str:
    """Train on all pairs of ``collect`` and write the state dict."""
    found = read(costs)
    return save_fitted(train(found), found, to)


if __name__ == "__main__":
    fire.Fire({"collect": collect, "check": check, "fit": fit})
