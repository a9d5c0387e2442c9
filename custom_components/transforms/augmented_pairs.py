"""Prepared pairs, augmented, as what a network takes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import Dataset

from custom_components.common.errors import InputError
from custom_components.transforms.augmentation import RandPairAugmentd


class AugmentedPairs(Dataset[dict[str, Tensor]]):
    """Every pair once an epoch, moved and recoloured; item ``i`` depends on the seed, the epoch and ``i`` alone.

    Each epoch has its own order of the pairs, so a loader must not shuffle: its order would be another after a resume.
    An item is ``{"image": (2, size, size), "label": the same}``, moving and fixed, padded to a square and shrunk.

    Args:
        pairs: dictionaries as ``engines.training_pairs`` gives.
        augmentation: of each pair.
        size: voxels a side of what the network sees.
        seed: see above.

    Raises:
        InputError: there are no pairs.
    """

    def __init__(
        self,
        pairs: Sequence[dict[Any, Any]],
        augmentation: RandPairAugmentd | None = None,
        size: int = 256,
        seed: int = 0,
    ) -> None:
        if len(pairs) == 0:
            raise InputError("no pairs to train on: give --pairs TABLE.csv")
        self.pairs = pairs
        self.augmentation = augmentation or RandPairAugmentd()
        self.size = size
        self.seed = seed
        self.set_epoch(0)

    def __len__(self) -> int:
        return len(self.pairs)

    def set_epoch(self, epoch: int) -> None:
        """Draw another order and other augmentations from now on."""
        self.epoch = epoch
        self.order = np.random.RandomState([self.seed, epoch]).permutation(len(self.pairs))

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        self.augmentation.set_random_state(state=np.random.RandomState([self.seed, self.epoch, index]))
        data = self.augmentation(self.pairs[self.order[index]])
        pair = torch.cat([torch.as_tensor(data[f"working_{side}"]).as_subclass(Tensor) for side in ("moving", "fixed")])
        rows, columns = pair.shape[1:]
        short = [max(rows, columns) - side for side in (columns, rows)]
        square = F.pad(pair, [part for s in short for part in (s // 2, s - s // 2)])
        shape = (self.size, self.size)
        image = F.interpolate(square[None], shape, mode="bilinear", align_corners=False, antialias=True)[0]
        return {"image": image, "label": image}
