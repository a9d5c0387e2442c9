"""The geometry of one image: where the centres of its pixels or voxels lie in physical space.

Every step that changes what is in memory (shrinking, averaging, reading a level, padding, cropping) is a method here,
so that no other module multiplies such matrices by hand. A ``MetaTensor`` carries the same matrix as its ``affine``,
in LPS, so that MONAI's spatial transforms keep it true: ``Grid.of`` reads it, ``Grid.on`` writes it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from custom_components.common.arrays import Matrix
from custom_components.common.errors import InputError
from custom_components.fields.geometry import apply_matrix, index_to_physical
from custom_components.fields.resize import grid_change

if TYPE_CHECKING:
    from monai.data.meta_tensor import MetaTensor

UNITS = ("pixel", "micrometre", "millimetre")
LARGEST_SHEAR = 1e-3  # cosine of the angle between two axes; headers in single precision stay far below


@dataclass(frozen=True, eq=False)
class Grid:
    """The geometry of one image.

    Attributes:
        shape: (D,) pixels, array-axis order: (row, col) or (slice, row, col).
        matrix: (D+1, D+1) array index -> physical LPS coordinates (x, y[, z]); pixel centres at whole indices.
        unit: of the physical coordinates: "pixel" (of the file's full resolution), "micrometre" or "millimetre".
        known: whether the file states where the image lies in space, as medical formats do; else the physical origin is
            the centre of the image's own first pixel and says nothing about another image.

    Raises:
        InputError: another unit, or a matrix that is not finite, can't be inverted or does not fit the shape.
    """

    shape: tuple[int, ...]
    matrix: Matrix
    unit: str = "pixel"
    known: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", tuple(int(side) for side in self.shape))
        matrix = np.array(self.matrix, dtype=np.float64)
        matrix.setflags(write=False)
        object.__setattr__(self, "matrix", matrix)
        size = len(self.shape) + 1
        if matrix.shape != (size, size):
            raise InputError(f"a grid of {self.shape} needs a matrix of {size} x {size}, got {matrix.shape}")
        if not np.isfinite(matrix).all() or abs(np.linalg.det(matrix[:-1, :-1])) < 1e-30:
            raise InputError(f"a grid's matrix must be finite and invertible, got {matrix.tolist()}")
        if self.unit not in UNITS:
            raise InputError(f"the unit of a grid is one of {', '.join(UNITS)}, got '{self.unit}'")

    @classmethod
    def of_pixels(cls, shape: Sequence[int], pixel_size: Sequence[float] | None = None) -> Grid:
        """Grid of an image whose file says no more than its pixel size.

        Args:
            shape: (D,) pixels.
            pixel_size: (D,) micrometres, array-axis order; None counts in pixels.
        """
        size = [1.0] * len(shape) if pixel_size is None else [float(step) for step in pixel_size]
        return cls(tuple(shape), index_to_physical(size[::-1]), "pixel" if pixel_size is None else "micrometre")

    @classmethod
    def of(cls, image: MetaTensor) -> Grid:
        """Grid of what is in memory: the image's shape and ``affine``, unit and ``known`` of its ``file_grid``."""
        size = image.ndim  # (C, *spatial): as many axes as the matrix has rows
        affine = np.asarray(image.affine, dtype=np.float64)
        matrix = np.eye(size)
        matrix[:-1, :-1], matrix[:-1, -1] = affine[: size - 1, : size - 1], affine[: size - 1, -1]
        file: Grid | None = image.meta.get("file_grid")
        shape = tuple(image.shape[1:])
        return cls(shape, matrix) if file is None else cls(shape, matrix, file.unit, file.known)

    def on(self, image: Any, meta: Mapping[Any, Any] | None = None) -> MetaTensor:
        """(C, *shape) as a ``MetaTensor`` that lies on this grid; inverse of ``of``.

        Args:
            image: tensor or array.
            meta: further entries, such as those of the image that it was made of.

        Raises:
            InputError: the image has another size.
        """
        # here, as importing MONAI takes seconds, which whole slides need not
        import torch
        from monai.data.meta_tensor import MetaTensor
        from monai.utils import MetaKeys, SpaceKeys

        if tuple(image.shape[1:]) != self.shape:
            raise InputError(f"an image of {tuple(image.shape[1:])} does not lie on a grid of {self.shape}")
        known = {k: v for k, v in dict(meta or {}).items() if k not in (MetaKeys.AFFINE, MetaKeys.SPACE)}
        values = torch.as_tensor(image)
        values = values.as_subclass(torch.Tensor) if isinstance(values, MetaTensor) else values
        return MetaTensor(values, affine=torch.tensor(self.matrix), meta={**known, MetaKeys.SPACE: SpaceKeys.LPS})

    @property
    def spacing(self) -> Matrix:
        """(D,) physical distance of neighbouring pixels, array-axis order."""
        return np.asarray(np.linalg.norm(self.matrix[:-1, :-1], axis=0), dtype=np.float64)

    @property
    def shear(self) -> float:
        """The largest cosine between two of its axes, 0 where they are at right angles."""
        axes = self.matrix[:-1, :-1] / self.spacing
        return float(np.abs(axes.T @ axes - np.eye(len(self.shape))).max())

    @property
    def corners(self) -> Matrix:
        """(2^D, D) physical positions of the outer corners of its field of view."""
        ends = list(product(*((-0.5, side - 0.5) for side in self.shape)))
        return apply_matrix(self.matrix, np.array(ends))

    def resized(self, shape: Sequence[int]) -> Grid:
        """The same field of view in ``shape`` pixels."""
        return self._moved(shape, grid_change(shape, self.shape))

    def shrunk(self, factor: float | Sequence[float]) -> Grid:
        """The same field of view with ``factor`` (one, or one an axis) times as many pixels a side, rounded."""
        factors = np.broadcast_to(np.asarray(factor, dtype=np.float64), (len(self.shape),))
        return self.resized([max(1, round(side * float(f))) for side, f in zip(self.shape, factors, strict=True)])

    def averaged(self, factor: int) -> Grid:
        """Blocks of ``factor`` pixels a side made one; the last ones may reach beyond the image."""
        return self._moved([-(-side // factor) for side in self.shape], _blocks([factor] * len(self.shape)))

    def finer(self, factor: int) -> Grid:
        """Each pixel divided into ``factor`` a side; ``finer(k).averaged(k)`` is the grid itself."""
        step = np.asarray(np.linalg.inv(_blocks([factor] * len(self.shape))), dtype=np.float64)
        return self._moved([side * factor for side in self.shape], step)

    def strided(self, factor: int) -> Grid:
        """Every ``factor``-th pixel, the middle one (of an even number the one before) of each block."""
        shape = [max(1, -(-(side - (factor - 1) // 2) // factor)) for side in self.shape]
        step = np.diag([*[float(factor)] * len(self.shape), 1.0])
        step[:-1, -1] = (factor - 1) // 2
        return self._moved(shape, step)

    def level(self, shape: Sequence[int]) -> Grid:
        """A level of a pyramid over this grid, of ``shape`` pixels.

        Levels are mostly averaged by a whole number, the border rounded up or down, which must not shift what is far
        from it: such a number is found again, one for all axes where one fits. Any other level spans the field of view.
        """
        fits = [_whole_factors(full, part) for full, part in zip(self.shape, shape, strict=True)]
        common = set.intersection(*fits)
        if common:
            wanted = float(np.exp(np.mean(np.log(np.divide(self.shape, shape)))))
            # of few pixels several numbers would do: powers of two, then the nearest
            best = min(common, key=lambda f: (f & (f - 1) != 0, abs(f - wanted)))
            return self._moved(shape, _blocks([best] * len(self.shape)))
        return self.resized(shape)

    def padded(self, shape: Sequence[int]) -> Grid:
        """Centred in ``shape`` pixels, the odd one behind.

        Raises:
            InputError: it is larger than ``shape``.
        """
        if any(side > wanted for side, wanted in zip(self.shape, shape, strict=True)):
            raise InputError(f"an image of {self.shape} does not fit into {tuple(shape)}")
        return self.cropped([-((wanted - side) // 2) for side, wanted in zip(self.shape, shape, strict=True)], shape)

    def cropped(self, start: Sequence[float], shape: Sequence[int]) -> Grid:
        """``shape`` pixels from the index ``start`` (D,) on, which may lie outside."""
        step = np.eye(len(self.shape) + 1)
        step[:-1, -1] = start
        return self._moved(shape, step)

    def to(self, other: Grid) -> Matrix:
        """(D+1, D+1) matrix from this grid's array indices to those of ``other``, through physical space."""
        return np.asarray(np.linalg.solve(other.matrix, self.matrix), dtype=np.float64)

    def physical(self, points: npt.NDArray[np.floating]) -> Matrix:
        """(N, D) array indices -> physical coordinates."""
        return apply_matrix(self.matrix, points)

    def index(self, points: npt.NDArray[np.floating]) -> Matrix:
        """(N, D) physical coordinates -> array indices."""
        return apply_matrix(np.asarray(np.linalg.inv(self.matrix), dtype=np.float64), points)

    def in_unit(self, unit: str, scale: float | Sequence[float] = 1.0) -> Grid:
        """The same image measured otherwise.

        Args:
            unit: of the result.
            scale: new units per old unit, one or one an axis (x, y[, z]).
        """
        step = np.diag([*np.broadcast_to(np.asarray(scale, dtype=np.float64), (len(self.shape),)), 1.0])
        return replace(self, matrix=step @ self.matrix, unit=unit)

    def parallel_to(self, other: Grid) -> bool:
        """Whether each axis runs along the same axis of ``other`` in the same sense."""
        linear = self.to(other)[:-1, :-1]
        diagonal = np.diag(linear)
        return bool((diagonal > 0).all() and np.abs(linear - np.diag(diagonal)).max() <= 1e-6 * diagonal.min())

    def overlap(self, other: Grid, samples: int = 16) -> float:
        """Share of this grid's field of view that lies in that of ``other``, in one physical space."""
        axes = [(np.arange(samples) + 0.5) / samples * side - 0.5 for side in self.shape]
        places = np.stack([axis.ravel() for axis in np.meshgrid(*axes, indexing="ij")], axis=1)
        found = apply_matrix(self.to(other), places)
        return float(((found >= -0.5) & (found <= np.array(other.shape) - 0.5)).all(axis=1).mean())

    def same_space(self, other: Grid, tolerance: float = 1e-3) -> bool:
        """Whether both have the same shape and their pixels lie in the same places, to ``tolerance`` pixels."""
        if self.shape != other.shape or self.unit != other.unit:
            return False
        ends = np.array(list(product(*((0, side - 1) for side in self.shape))), dtype=np.float64)
        return bool(np.abs(apply_matrix(self.to(other), ends) - ends).max() <= tolerance)

    def as_json(self) -> dict[str, Any]:
        """Shape and matrix as ``metrics.json`` holds them."""
        return {"shape": list(self.shape), "index_to_physical": self.matrix.tolist(), "known": self.known}

    @classmethod
    def from_json(cls, data: Mapping[str, Any], unit: str = "pixel") -> Grid:
        """Inverse of ``as_json``."""
        return cls(tuple(data["shape"]), np.array(data["index_to_physical"]), unit, bool(data.get("known", False)))

    def _moved(self, shape: Sequence[int], step: Matrix) -> Grid:
        """A grid of ``shape`` whose indices go to this one's by ``step``."""
        return replace(self, shape=tuple(shape), matrix=self.matrix @ step)


def _blocks(factors: Sequence[int]) -> Matrix:
    """Indices of blocks of so many pixels -> indices of the pixels, their middle."""
    matrix = np.diag([*map(float, factors), 1.0])
    matrix[:-1, -1] = (np.array(factors, dtype=np.float64) - 1) / 2
    return matrix


def _whole_factors(full: int, part: int) -> set[int]:
    """All whole numbers by which ``full`` pixels can have become ``part``, the last block dropped or kept."""
    low, high = full / (part + 1), full / max(part - 1, 0.5)
    near = range(max(1, int(low)), int(high) + 2)
    return {f for f in near if part in (full // f, -(-full // f))}
