"""Learn from landmarks how much each proposed field counts in histology_registration, and check it on other cases.

    python -m benchmarks.vote_weights collect --pairs split.csv --status training --to votes.pt
    python -m benchmarks.vote_weights check --votes votes.pt
    python -m benchmarks.vote_weights fit --votes votes.pt --to bundles/histology_registration/models/vote_weights.pt

``split.csv`` is by ``benchmarks.split``. ``check`` fits on four fifths of the tissue cases at a time and prints the
error of the common vote at the landmarks of the rest, beside that of the median of all proposals.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import fire
import torch
from torch import Tensor

from benchmarks.recorded import error_table, left_out, recorded, save_fitted
from custom_components.fields import sample, sample_at
from custom_components.inferers.flow_refinement import flow_to_ddf
from custom_components.networks.vote_weights import VoteWeights

NEAR = 1e-3  # share of the diagonal: below it an error is as good as none
EPOCHS = 40
BATCH = 1024
RATE = 3e-3
DECAY = 1e-3


@dataclass(frozen=True)
class Votes:
    """What was proposed at the landmarks of one pair; lengths are shares of the tissue's diagonal.

    Attributes:
        id: of the pair.
        case: tissue and block.
        features: (N, K, F), see ``proposal_features``.
        proposed: (N, K, 2) row, col, displacements after the affine.
        wanted: (N, 2), the true ones.
    """

    id: str
    case: str
    features: Tensor
    proposed: Tensor
    wanted: Tensor

    def error(self, shares: Tensor) -> Tensor:
        """(N,) of the common vote with ``shares`` (N, K)."""
        found: Tensor = ((shares[..., None] * self.proposed).sum(1) - self.wanted).norm(dim=1)
        return found


class Recorder(VoteWeights):
    """Keeps the features that it is asked by, and lets all proposals count the same."""

    def of_maps(self, features: Tensor) -> Tensor:
        """(K, F, h, w) -> (K, h, w)."""
        self.seen = features
        return torch.full_like(features[:, 0], 1 / len(features))


def collect(pairs: str, to: str, status: str | None = None, limit: int | None = None, **options: Any) -> str:
    """Register the pairs and keep what is proposed at each landmark.

    Args:
        pairs: pair table with ``tissue`` and ``block``; both landmark files of each pair.
        to: file of the ``Votes``.
        status: of the rows taken.
        limit: only the first pairs.
        options: keys of the bundle.

    Returns:
        How many pairs and landmarks there are. Pairs in several pieces are left out.
    """
    recorder = Recorder()
    found: list[Votes] = []
    changes = {"vote_weights": recorder, "decoder": None}
    for one in recorded(pairs, status, limit, changes, options):
        flows = (flow_to_ddf(flow).double() for flow in one.step.ballot.flows)
        proposed = torch.stack([sample_at(flow, one.fixed) for flow in flows], dim=1)
        features = at_points(recorder.seen, one.fixed, one.images.shape)
        lengths = ((x / one.images.diagonal).float() for x in (proposed, one.wanted))
        found.append(Votes(one.id, one.case, features, *lengths))
        print(f"{one.id} {one.case}: median of the proposals {median_error(found[-1]).mean():.5f}", flush=True)
        torch.save([vars(votes) for votes in found], to)  # a stopped run keeps what it has
    return f"{len(found)} pairs, {sum(len(votes.wanted) for votes in found)} landmarks in {to}"


def at_points(maps: Tensor, points: Tensor, shape: Sequence[int]) -> Tensor:
    """(N, K, F) of maps (K, F, h, w) that cover a grid of ``shape``, at points (N, 2) in its voxels."""
    coarse = (points + 0.5) * torch.tensor(maps.shape[2:]) / torch.tensor(tuple(shape)) - 0.5
    values = sample(maps.flatten(0, 1)[None].double(), coarse.T.reshape(1, 2, -1, 1))
    return values.reshape(-1, len(points)).T.reshape(len(points), *maps.shape[:2]).float()


def median_error(votes: Votes) -> Tensor:
    """(N,) of the median of all proposals, an axis at a time."""
    return (votes.proposed.median(1).values - votes.wanted).norm(dim=1)


def train(votes: Sequence[Votes], seed: int = 0, epochs: int = EPOCHS) -> VoteWeights:
    """A network whose common vote has the smallest mean logarithm of the error; every pair counts the same."""
    torch.manual_seed(seed)
    features, proposed, wanted = (
        torch.cat(parts) for parts in zip(*((one.features, one.proposed, one.wanted) for one in votes), strict=True)
    )
    weight = torch.cat([torch.full((len(one.wanted),), 1 / len(one.wanted)) for one in votes])
    weight /= weight.mean()
    network = VoteWeights(features.shape[2])
    network.standardise_by(features)
    optimizer = torch.optim.AdamW(network.parameters(), lr=RATE, weight_decay=DECAY)
    batches = -(-len(wanted) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=epochs * batches)
    for _ in range(epochs):
        for index in torch.randperm(len(wanted)).split(BATCH):
            common = (network(features[index])[..., None] * proposed[index]).sum(1)
            error = (common - wanted[index]).norm(dim=1)
            loss = (weight[index] * torch.log(error + NEAR)).mean()
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]  # torch's
            optimizer.step()
            schedule.step()
    return network.eval().requires_grad_(False)


def read(file: str) -> list[Votes]:
    """What ``collect`` wrote."""
    return [Votes(**one) for one in torch.load(file, weights_only=True)]


def check(votes: str) -> str:
    """Markdown: means over pairs of the mean and the median error, on cases left out of the fit."""
    found = read(votes)
    median: list[Tensor] = []
    learned: list[Tensor] = []
    for known, others in left_out(found):
        network = train(known)
        median += [median_error(one) for one in others]
        learned += [one.error(network(one.features)) for one in others]
    return "\n".join(error_table(found, {"median of the proposals": median, "learned weights, other cases": learned}))


def fit(votes: str, to: str) -> str:
    """Train on all pairs of ``collect`` and write the state dict."""
    found = read(votes)
    return save_fitted(train(found), found, to)


if __name__ == "__main__":
    fire.Fire({"collect": collect, "check": check, "fit": fit})
