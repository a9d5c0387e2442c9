"""What an inferer hands to everything after it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor

from custom_components.matching.point_pairs import PointPairs


@dataclass(frozen=True)
class Stage:
    """One step of an inferer: its name, wall-clock seconds and the figures that explain what it did."""

    name: str
    seconds: float
    details: Mapping[str, float | int | str | bool] = field(default_factory=dict)


@dataclass(frozen=True)
class Registration:
    """A pair's result on the working grids.

    Attributes:
        ddf: (1, D, *spatial), voxels, fixed grid -> moving: ``warped(x) = moving(x + ddf(x))``.
        inverse: (1, D, *spatial), voxels, moving grid -> fixed.
        matches: the pairs that carry the field.
        dropped: the pairs that the outlier filters rejected.
        stages: what was done, in order.
    """

    ddf: Tensor
    inverse: Tensor
    matches: PointPairs
    dropped: PointPairs
    stages: tuple[Stage, ...]
