"""Records in memory, each transformed at random in a way that a seed and an epoch repeat."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from monai.transforms import Compose
from torch.utils.data import Dataset

from custom_components.common.errors import InputError


class RandomItems(Dataset[Any]):
    """Item ``i`` depends on the seed, the epoch and ``i`` alone; each epoch has its own order.

    A loader must not shuffle: its order would be another one after a resume.

    Args:
        records: dictionaries of tensors, such as ``single_images`` gives.
        transform: MONAI transforms, random ones among them.
        length: items an epoch; None is one a record. With more, records come again, with fewer a part is drawn.
        seed: see above.

    Raises:
        InputError: there are no records.
    """

    def __init__(self, records: Sequence[Any], transform: Compose, length: int | None = None, seed: int = 0) -> None:
        if len(records) == 0:
            raise InputError("nothing to train on: give --pairs TABLE.csv")
        self.records = records
        self.transform = transform
        self.length = length or len(records)
        self.seed = seed
        self.set_epoch(0)

    def __len__(self) -> int:
        return self.length

    def set_epoch(self, epoch: int) -> None:
        """Draw another order and other transforms from now on."""
        self.epoch = epoch
        rng = np.random.RandomState([self.seed, epoch])
        rounds = -(-self.length // len(self.records))
        self.order = np.concatenate([rng.permutation(len(self.records)) for _ in range(rounds)])[: self.length]

    def __getitem__(self, index: int) -> Any:
        if not 0 <= index < self.length:
            raise IndexError(index)
        self.transform.set_random_state(state=np.random.RandomState([self.seed, self.epoch, index]))
        return self.transform(self.records[self.order[index]])
