"""What inferers take, pass on and give."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np
import torch
from monai.data.meta_tensor import MetaTensor
from torch import Tensor

from custom_components.common.arrays import Matrix
from custom_components.common.errors import InputError
from custom_components.fields import Grid
from custom_components.matching.point_pairs import PointPairs
from custom_components.pairs import Pair

Details = Mapping[str, float | int | str | bool]


def check_error(error: Tensor | None, ddf: Tensor) -> None:
    """Raise ``InputError`` unless an error estimate, if there is one, fits its field."""
    wanted = (1, 2, *ddf.shape[2:])
    if error is not None and tuple(error.shape) != wanted:
        raise InputError(f"the error estimate of a field {tuple(ddf.shape)} is {wanted}, got {tuple(error.shape)}")


@dataclass(frozen=True)
class PairOrigin:
    """Where a prepared pair comes from, for steps that read more of it.

    Attributes:
        pair: the files.
        moving: (C, *spatial) as read, of large slides a coarse level; ``meta`` holds ``file_grid``, of all of the
            file's pixels.
        fixed: the same.
        moving_grid: the working grid.
        fixed_grid: the same.
        unit: of the physical coordinates.
    """

    pair: Pair
    moving: MetaTensor
    fixed: MetaTensor
    moving_grid: Grid
    fixed_grid: Grid
    unit: str


@dataclass(frozen=True)
class PairImages:
    """A prepared pair on one common grid size.

    Attributes:
        moving: (1, 1, *spatial) float in [0, 1], tissue bright on black; 2-D or 3-D.
        fixed: the same size.
        moving_mask: (1, 1, *spatial) float, 1 on tissue.
        fixed_mask: the same.
        origin: None where the pair was not read from files.
    """

    moving: Tensor
    fixed: Tensor
    moving_mask: Tensor
    fixed_mask: Tensor
    origin: PairOrigin | None = None

    def __post_init__(self) -> None:
        shapes = {tuple(t.shape) for t in (self.moving, self.fixed, self.moving_mask, self.fixed_mask)}
        if len(shapes) != 1 or self.moving.ndim not in (4, 5) or self.moving.shape[:2] != (1, 1):
            raise InputError(f"a pair needs images and masks of one shape (1, 1, *spatial), got {sorted(shapes)}")

    @property
    def shape(self) -> tuple[int, ...]:
        """(H, W) or (D, H, W)."""
        return tuple(self.fixed.shape[2:])

    @property
    def diagonal(self) -> float:
        """Length of the tissue's bounding box diagonal in the fixed image, in voxels; of the grid if there is none."""
        index = self.fixed_mask[0, 0].nonzero()
        if len(index) == 0:
            return float(np.linalg.norm(self.shape))
        return float(np.linalg.norm((index.amax(0) - index.amin(0) + 1).tolist()))


@dataclass(frozen=True)
class Stage:
    """One step of an inferer: its name, wall-clock seconds and the figures that explain what it did."""

    name: str
    seconds: float
    details: Details = field(default_factory=dict)


@dataclass(frozen=True)
class Base:
    """A field that no single affine is near, of pieces that moved by themselves; what follows improves on it.

    ``Chain`` shows the steps that follow the moving image as the base warps it, so that they need not know of it.

    Attributes:
        ddf: (1, D, *spatial), voxels, fixed -> moving; right on tissue, over glass it may fold.
        inverse: (1, D, *spatial), voxels, moving -> fixed; right on tissue, and made beside ``ddf``, as pieces that
            changed places leave nothing that iteration could invert.
        lone: (1, 1, *spatial), 1 on the fixed tissue that has no counterpart, and around it.
    """

    ddf: Tensor
    inverse: Tensor
    lone: Tensor


@dataclass(frozen=True)
class Estimate:
    """The state that one step hands to the next.

    Attributes:
        ddf: (1, D, *spatial), voxels, fixed grid -> moving.
        affine: (D+1, D+1) array-axis order, fixed -> moving, the global part of ``ddf``.
        matches: pairs that carry the field so far.
        dropped: pairs rejected so far.
        stages: what was done.
        error: (1, 2, *spatial), voxels, on the fixed grid: the expected (median) error of ``ddf`` at each place and the
            bound that 95 % of places stay below; None where it was not estimated, and then nothing is claimed.
        base: where pieces moved by themselves, and then ``ddf`` is its field; None where ``affine`` is near enough.
    """

    ddf: Tensor
    affine: Matrix
    matches: PointPairs
    dropped: PointPairs
    stages: tuple[Stage, ...] = ()
    error: Tensor | None = None
    base: Base | None = None

    def __post_init__(self) -> None:
        check_error(self.error, self.ddf)

    @staticmethod
    def identity(shape: tuple[int, ...], device: torch.device | str = "cpu") -> Estimate:
        """Nothing known yet: no displacement, no matches."""
        none, count = PointPairs.empty(len(shape)), len(shape)
        return Estimate(torch.zeros(1, count, *shape, device=device), np.eye(count + 1), none, none)


class Step(Protocol):
    """Improves an estimate of the field between two prepared images."""

    def __call__(self, images: PairImages, estimate: Estimate) -> Estimate:
        """The better estimate, with one more stage."""
        ...


@dataclass(frozen=True)
class Registration:
    """A pair's result on the working grids.

    Attributes:
        ddf: (1, D, *spatial), voxels, fixed grid -> moving: ``warped(x) = moving(x + ddf(x))``.
        inverse: (1, D, *spatial), voxels, moving grid -> fixed.
        matches: the pairs that carry the field.
        dropped: the pairs that the outlier filters rejected.
        stages: what was done, in order.
        error: (1, 2, *spatial), voxels, on the fixed grid: the expected (median) error of ``ddf`` at each place and the
            bound that 95 % of places stay below; None where it was not estimated, NaN where fixed tissue has no
            counterpart.
        lone: (1, 1, *spatial), 1 on the fixed tissue whose counterpart was looked for and not found, and around it;
            None where none is missing.
    """

    ddf: Tensor
    inverse: Tensor
    matches: PointPairs
    dropped: PointPairs
    stages: tuple[Stage, ...]
    error: Tensor | None = None
    lone: Tensor | None = None

    def __post_init__(self) -> None:
        check_error(self.error, self.ddf)

    def cpu(self) -> Registration:
        """The same result in ordinary memory, where all that comes after an inferer works."""
        return replace(
            self, ddf=self.ddf.cpu(), inverse=self.inverse.cpu(), matches=self.matches.cpu(),
            dropped=self.dropped.cpu(), error=None if self.error is None else self.error.cpu(),
            lone=None if self.lone is None else self.lone.cpu(),
        )  # fmt: skip
