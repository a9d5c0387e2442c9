"""What COTR is fine-tuned on: crops of real pairs about correspondences that were matched or annotated.

Source: Zhang et al., "A Hybrid Deep Feature-Based Deformable Image Registration Method for Pathological Images", on
fine-tuning; crops as in the zooming inference, sizes and shares are ours.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from custom_components.common.arrays import SIDES
from custom_components.common.errors import InputError
from custom_components.engines.keypoint_pairs import transformed_by_symmetry
from custom_components.engines.pair_evaluator import Data
from custom_components.engines.training_pairs import stacked
from custom_components.fields import Grid, apply_matrix
from custom_components.matching import CachedMatcher, Matcher, PointPairs
from custom_components.matching.cotr import Scaled, scaled
from custom_components.matching.outliers import filter_pairs, merge_duplicates
from custom_components.networks.cotr import to_canvas
from custom_components.pairs import match_landmarks, read_landmarks
from custom_components.transforms.synthetic_warp import RandomAppearance

Matches = Mapping[str, PointPairs]


def pseudo_labels(
    pairs: Sequence[Data],
    matchers: Sequence[Matcher],
    folder: str | Path | None = None,
    tolerance: float = 0.008,
    contamination: float | str = "auto",
    rounds: int = 30,
    seed: int = 0,
) -> dict[str, PointPairs]:
    """The union of several matchers after the filters of the hybrid method, by the pairs' ids.

    Args:
        pairs: as ``training_pairs`` gives, roughly aligned.
        matchers: all are asked.
        folder: where matches are kept; None keeps none.
        tolerance: share of the grid's diagonal, see ``filter_pairs``.
        contamination: see ``filter_pairs``.
        rounds: see ``filter_pairs``.
        seed: of the filters.
    """
    found = {}
    for data in pairs:
        moving, fixed = (stacked(data, "working", [side])[None] for side in SIDES)
        parts = [CachedMatcher(matcher, folder)(moving, fixed) for matcher in matchers]
        union = merge_duplicates(PointPairs.concatenate(parts))
        diagonal = float(np.linalg.norm(fixed.shape[2:]))
        _, kept = filter_pairs(
            union, tolerance=tolerance * diagonal, contamination=contamination, rounds=rounds, seed=seed
        )
        found[data["pair"].id] = union.select(kept)
    return found


def annotated(pairs: Sequence[Data]) -> dict[str, PointPairs]:
    """The landmarks of the pairs that have them, in voxels of their working images, by the pairs' ids.

    Args:
        pairs: as ``training_pairs`` gives.

    Raises:
        InputError: a landmark file is wrong, or those of a pair have nothing in common.
    """
    found = {}
    for data in pairs:
        pair = data["pair"]
        files = (pair.moving_landmarks, pair.fixed_landmarks)
        if files[0] is None or files[1] is None:
            continue
        marks = [read_landmarks(file, side) for file, side in zip(files, SIDES, strict=True)]
        match = match_landmarks(marks[0], marks[1])
        placed = []
        for side, points in zip(SIDES, (marks[0].points[match.moving], marks[1].points[match.fixed]), strict=True):
            working = Grid.of(data[f"working_{side}"])
            to_working = data[f"working_{side}"].meta["file_grid"].to(working)
            placed.append(torch.from_numpy(apply_matrix(to_working, points)).float())
        found[pair.id] = PointPairs(placed[0], placed[1], torch.ones(len(match.moving)))
    return found


class MatchedCrops(Dataset[dict[str, Tensor]]):
    """Crops of both images about a known correspondence, with all others that lie in them as queries.

    Items are as those of ``CorrespondenceQueries``; item ``i`` depends on the seed, the epoch and ``i`` alone. The
    source of the correspondences is drawn first, so that few landmarks count as much as many matches.

    Args:
        pairs: as ``training_pairs`` gives.
        sources: of correspondences, from a pair's id to those in voxels of the working images; a pair may be missing.
        length: items an epoch.
        points: queries of an item; where fewer are known some come twice.
        side: of the crops, voxels.
        zooms: sides of what is cut out as shares of the shorter side of the image; one is drawn for each item.
        jitter: share of the crop's side by which its centre may miss the correspondence, in each image by itself.
        appearance: of both crops; None leaves them as they are.
        seed: see above.

    Raises:
        InputError: no pair has a correspondence.
    """

    def __init__(
        self,
        pairs: Sequence[Data],
        sources: Sequence[Matches],
        length: int = 800,
        points: int = 100,
        side: int = 128,
        zooms: Sequence[float] = (1.0, 0.5, 0.354, 0.208),
        jitter: float = 0.2,
        appearance: RandomAppearance | None = None,
        seed: int = 0,
    ) -> None:
        known = {data["pair"].id: data for data in pairs}
        self.choices = [[(known[name], found) for name, found in source.items() if len(found)] for source in sources]
        self.choices = [choice for choice in self.choices if choice]
        if not self.choices:
            raise InputError("no pair has matches or landmarks to learn from: give --pairs TABLE.csv with some")
        self.length = length
        self.points = points
        self.side = side
        self.zooms = list(zooms)
        self.jitter = jitter
        self.appearance = appearance
        self.seed = seed
        self.epoch = 0

    def __len__(self) -> int:
        return self.length

    def set_epoch(self, epoch: int) -> None:
        """Draw other items from now on."""
        self.epoch = epoch

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        rng = np.random.RandomState([self.seed, self.epoch, index])
        source = self.choices[rng.randint(len(self.choices))]
        data, found = source[rng.randint(len(source))]
        images = [stacked(data, "working", [name])[None] for name in SIDES]
        zoom = self.zooms[rng.randint(len(self.zooms))]
        scale = self.side / (zoom * min(images[0].shape[-2:]))
        centre = rng.randint(len(found))
        parts = [
            self._cut(scaled(image, scale), points, centre, rng)
            for image, points in zip(images, (found.moving, found.fixed), strict=True)
        ]
        inside = torch.stack([((p >= 0) & (p <= self.side - 1)).all(dim=1) for _, p in parts]).all(dim=0)
        inside[centre] = True  # a crop at the border of the image may have lost it by a rounding
        near = inside.nonzero()[:, 0].numpy()
        chosen = rng.choice(near, self.points, replace=len(near) < self.points)
        item = {"image": torch.cat([crop for crop, _ in parts]), "mask": torch.zeros(2, self.side, self.side)}
        item |= {f"points_{name}": parts[i][1][chosen].clamp(0, self.side - 1) for i, name in enumerate(SIDES)}
        item = transformed_by_symmetry(item, (self.side, self.side), int(rng.randint(8)))
        if self.appearance is not None:
            self.appearance.set_random_state(state=rng)
            item["image"] = torch.cat([self.appearance(item["image"][i][None, None])[0] for i in range(2)])
        order = [0, 1] if rng.uniform() < 0.5 else [1, 0]  # either image is asked
        shape = (self.side, self.side)
        queries, answers = (
            to_canvas(item[f"points_{SIDES[i]}"], shape, second) for i, second in zip(order, (False, True), strict=True)
        )
        return {"image": item["image"][order], "queries": queries, "label": torch.cat([answers, queries], dim=1)}

    def _cut(self, image: Scaled, points: Tensor, centre: int, rng: np.random.RandomState) -> tuple[Tensor, Tensor]:
        """A crop (1, side, side) about one point, and all points (N, 2) in its voxels."""
        placed = image.inwards(points)
        miss = torch.from_numpy(rng.uniform(-self.jitter, self.jitter, 2)).float() * self.side
        corner = image.corners((placed[centre] + miss)[None], self.side)[0]
        return image.cut(corner, self.side), placed - corner


def build_sources(pairs: Sequence[Data], matchers: Sequence[Matcher], **settings: Any) -> list[dict[str, PointPairs]]:
    """Pseudo-labels and landmarks, as ``MatchedCrops`` takes them; settings are those of ``pseudo_labels``."""
    return [pseudo_labels(pairs, matchers, **settings), annotated(pairs)]
