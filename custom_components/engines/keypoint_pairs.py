"""Prepared pairs with their point correspondences, as what a guided training takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from custom_components.common.arrays import SIDES
from custom_components.common.errors import InputError
from custom_components.engines.training_pairs import stacked
from custom_components.matching.point_pairs import PointPairs
from custom_components.transforms.random_view import RandomView


class KeypointPairs(Dataset[dict[str, Tensor]]):
    """Every pair twice an epoch, once in each direction, turned by a quarter or mirrored at random.

    Item ``i`` depends on the seed, the epoch and ``i`` alone. It has ``image`` (2, H, W), moving and fixed; ``mask``
    (2, H, W), their tissue; and for S sources of correspondences ``points_moving`` and ``points_fixed`` (S, N, 2)
    row, col voxels with ``valid`` (S, N), 0 for what only fills the tensor. Sizes differ between pairs.

    Args:
        pairs: dictionaries as ``engines.training_pairs`` gives.
        matches: one a source, from a pair's id to its correspondences; a pair may be missing.
        points: N; of more correspondences a random part is taken.
        augmented: turn and mirror; the source does not.
        view: bends or magnifies before that; None leaves the pair as it is.
        fields: of a first pass, (2, H, W) voxels, fixed -> moving, by a pair's id and direction, True for the fixed
            image onto the moving one; for ``view``.
        seed: see above.

    Raises:
        InputError: there are no pairs.
    """

    def __init__(
        self,
        pairs: Sequence[dict[Any, Any]],
        matches: Sequence[Mapping[str, PointPairs]] = (),
        points: int = 400,
        augmented: bool = True,
        view: RandomView | None = None,
        fields: Mapping[tuple[str, bool], Tensor] | None = None,
        seed: int = 0,
    ) -> None:
        if len(pairs) == 0:
            raise InputError("no pairs to train on: give --pairs TABLE.csv")
        self.pairs = pairs
        self.matches = list(matches)
        self.points = points
        self.augmented = augmented
        self.view = view
        self.fields = fields or {}
        self.seed = seed
        self.epoch = 0

    def __len__(self) -> int:
        return 2 * len(self.pairs)

    def set_epoch(self, epoch: int) -> None:
        """Draw another order, other turns and other parts from now on."""
        self.epoch = epoch

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        order = np.random.RandomState([self.seed, self.epoch]).permutation(len(self))
        which, backwards = divmod(int(order[index]), 2)
        rng = np.random.RandomState([self.seed, self.epoch, index])
        data = self.pairs[which]
        sides = SIDES[::-1] if backwards else SIDES
        image, mask = (stacked(data, name, sides) for name in ("working", "mask"))
        shape = (image.shape[1], image.shape[2])
        chosen = [self._drawn(found.get(data["pair"].id, PointPairs.empty()), rng) for found in self.matches]
        item = {"image": image, "mask": mask}
        for side, key in zip(sides, ("points_moving", "points_fixed"), strict=True):
            item[key] = torch.stack([getattr(part, side) for part, _ in chosen]) if chosen else torch.zeros(0, 0, 2)
        item["valid"] = torch.stack([valid for _, valid in chosen]) if chosen else torch.zeros(0, 0)
        if self.view is not None:
            self.view.set_random_state(state=rng)
            field = self.fields.get((data["pair"].id, bool(backwards)))
            item = self.view(item if field is None else item | {"field": field.float()})
        if self.augmented:
            item = transformed_by_symmetry(item, shape, int(rng.randint(8)))
        return item

    def _drawn(self, found: PointPairs, rng: np.random.RandomState) -> tuple[PointPairs, Tensor]:
        """``points`` correspondences, the last ones made up where there are fewer, and which are real."""
        keep = torch.from_numpy(rng.permutation(len(found))[: self.points])
        part = found.select(keep)
        short = self.points - len(part)
        filler = PointPairs(torch.zeros(short, 2), torch.zeros(short, 2), torch.zeros(short))
        return PointPairs.concatenate([part, filler]), (torch.arange(self.points) < len(part)).float()


def transformed_by_symmetry(item: Mapping[str, Tensor], shape: tuple[int, int], way: int) -> dict[str, Tensor]:
    """One of the eight symmetries of the square on images and points alike.

    Args:
        item: of ``KeypointPairs``.
        shape: (H, W) of its images.
        way: 0 to 7; bit 0 mirrors the rows, bit 1 the columns, bit 2 exchanges rows and columns, in this order.
    """
    result = dict(item)
    flipped = [axis for axis in (0, 1) if way >> axis & 1]
    for key in ("image", "mask"):
        value = item[key].flip([axis + 1 for axis in flipped])
        result[key] = (value.transpose(1, 2) if way & 4 else value).contiguous()
    for key in ("points_moving", "points_fixed"):
        points = item[key].clone()
        for axis in flipped:
            points[..., axis] = shape[axis] - 1 - points[..., axis]
        result[key] = points.flip(-1) if way & 4 else points
    return result
