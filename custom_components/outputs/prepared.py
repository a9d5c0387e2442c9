"""What the writer is given: a pair as it was prepared, and what its folder is to hold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from monai.data.meta_tensor import MetaTensor
from torch import Tensor

from custom_components.pairs import Pair


@dataclass(frozen=True)
class PreparedPair:
    """A pair, read and prepared.

    Attributes:
        pair: where the files are.
        moving: (C, *spatial) as read.
        fixed: as read.
        working_moving: (1, *spatial) working image; its ``affine`` places the field.
        working_fixed: the same.
        mask_moving: (1, *spatial) tissue.
        mask_fixed: the same.
        unit: "pixel", "micrometre" or "millimetre", of the fields on disk.
        notes: what a user should know of how the images were read.
    """

    pair: Pair
    moving: MetaTensor
    fixed: MetaTensor
    working_moving: MetaTensor
    working_fixed: MetaTensor
    mask_moving: Tensor
    mask_fixed: Tensor
    unit: str
    notes: tuple[str, ...] = ()

    @classmethod
    def of(cls, data: Mapping[Any, Any], pair: Pair | None = None) -> PreparedPair:
        """From the dictionary that a bundle's preprocessing gives.

        Args:
            data: with the keys of ``transforms.dictionary``.
            pair: another one than ``data["pair"]``, of the same images.
        """
        names = ("moving", "fixed", "working_moving", "working_fixed", "mask_moving", "mask_fixed", "unit")
        notes = tuple(data.get("notes", ()))
        return cls(data["pair"] if pair is None else pair, **{name: data[name] for name in names}, notes=notes)


@dataclass(frozen=True)
class Output:
    """Where and in which form a pair's folder is written.

    Attributes:
        folder: the pair's folder is made in it.
        extension: of the warped image; None keeps the moving image's.
        report: write report.html.
        note: a remark on the data, for the report and metrics.json.
    """

    folder: Path
    extension: str | None = None
    report: bool = True
    note: str = ""
