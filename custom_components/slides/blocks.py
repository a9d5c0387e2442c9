"""A large image written in blocks, in any order and by several threads, that a stopped run goes on with.

A block is a square of ``BLOCK`` pixels that holds whole tiles of the first levels. What it becomes is kept in a hidden
folder beside the target until all are there.
"""

from __future__ import annotations

import json
import shutil
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from custom_components.common.arrays import Array
from custom_components.common.errors import InputError
from custom_components.pairs import atomic_path
from custom_components.pairs.slides import block_mean
from custom_components.pairs.tiff_form import TILE, Shape

DEPTH = 1  # levels within a block below its first; more would take more memory a thread
BLOCK = TILE << DEPTH


class BlockWriter(ABC):
    """What all forms of large images share.

    Args:
        path: of the image to come.
        levels: (height, width) of each, each half of the one before, rounded up.
        nearest: levels take every second pixel instead of the mean of four, for labels.
    """

    def __init__(self, path: str | Path, levels: Sequence[Shape], nearest: bool = False) -> None:
        self.path = Path(path)
        self.levels = list(levels)
        self.nearest = nearest
        self.work = self.path.with_name(f".{self.path.name}.blocks")

    @abstractmethod
    def put(self, row: int, column: int, block: Array) -> int:
        """Keep a block (h, w, channels), of ``BLOCK`` pixels a side or what is left of the image; returns its bytes.

        Safe in threads.
        """

    @abstractmethod
    def finish(self) -> None:
        """Write the image and remove the blocks.

        Raises:
            InputError: blocks are missing, or the image can't be written.
        """

    def begin(self, plan: dict[str, Any]) -> None:
        """Go on with blocks of the same plan, throw away any other.

        Raises:
            InputError: the folder can't be written.
        """
        note, wanted = self.work / "plan.json", json.dumps(plan, sort_keys=True)
        try:
            if self.work.is_dir() and (not note.is_file() or note.read_text() != wanted):
                shutil.rmtree(self.work)
            self.work.mkdir(exist_ok=True)
            with atomic_path(note) as partial:
                partial.write_text(wanted)
        except OSError as error:
            raise InputError(f"{self.path}: can't be written ({error.strerror or error})") from error

    @property
    def places(self) -> list[tuple[int, int]]:
        """First row and column of every block, in reading order."""
        height, width = self.levels[0]
        return [(row, column) for row in range(0, height, BLOCK) for column in range(0, width, BLOCK)]

    def missing(self) -> list[tuple[int, int]]:
        """Those whose block is still to come."""
        return [place for place in self.places if not self.mark(*place).is_file()]

    def check_complete(self) -> None:
        """Raise ``InputError`` when blocks are missing."""
        if self.missing():
            raise InputError(f"{self.path}: {len(self.missing())} of {len(self.places)} blocks are missing")

    def mark(self, row: int, column: int) -> Path:
        """The file that is there when the block is done."""
        return self.work / f"{row // BLOCK}_{column // BLOCK}.parts"

    def half(self, part: Array) -> Array:
        """(H, W, channels) at half the size, as the next level has it."""
        return part[::2, ::2] if self.nearest else block_mean(part, 2)
