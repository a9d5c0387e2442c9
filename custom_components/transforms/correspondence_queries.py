"""Pairs with known displacement as what COTR learns from: points of one image and where they lie in the other."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from custom_components.common.errors import InputError
from custom_components.networks.cotr import to_canvas
from custom_components.transforms.synthetic_warp import SyntheticPairs


class CorrespondenceQueries(Dataset[dict[str, Tensor]]):
    """Items of ``SyntheticPairs`` with points on their tissue, in either direction.

    An item is ``{"image": (2, S, S) left and right image of the canvas, "queries": (Q, 2) x, y canvas fractions in the
    left one, "label": (Q, 4) their places in the right one, then the queries again}``. Item ``i`` of an epoch is always
    the same.

    Args:
        pairs: of patches and displacements.
        points: Q; where fewer are known some come twice.

    Raises:
        InputError: ``points`` is below 1.
    """

    def __init__(self, pairs: SyntheticPairs, points: int = 100) -> None:
        if points < 1:
            raise InputError(f"at least one point is asked about, got {points}")
        self.pairs = pairs
        self.points = points

    def __len__(self) -> int:
        return len(self.pairs)

    def set_epoch(self, epoch: int) -> None:
        """Draw other items from now on."""
        self.pairs.set_epoch(epoch)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        item = self.pairs[index]
        # one more number than the pair's own seed has, so that both draw differently
        rng = np.random.RandomState([self.pairs.seed, self.pairs.epoch, index, 1])
        ddf, weight = item["label"][:2], item["label"][2]
        shape = weight.shape
        for asked in (weight > 0.5, torch.ones_like(weight, dtype=torch.bool)):  # without tissue, points of the glass
            fixed = asked.nonzero()
            moving = fixed + ddf[:, fixed[:, 0], fixed[:, 1]].T
            inside = ((moving >= 0) & (moving <= torch.tensor(shape) - 1)).all(dim=1)
            if inside.any():
                break
        known = inside.nonzero()[:, 0].numpy()
        chosen = rng.choice(known, self.points, replace=len(known) < self.points)
        ends = [fixed[chosen].float(), moving[chosen]]
        image = item["image"].flip(0)  # the fixed one first
        if rng.uniform() < 0.5:
            ends.reverse()
            image = item["image"]
        queries, answers = (
            to_canvas(points, shape, second) for points, second in zip(ends, (False, True), strict=True)
        )
        return {"image": image, "queries": queries, "label": torch.cat([answers, queries], dim=1)}
