"""A displacement image evaluated block by block on the pixels of large images."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from custom_components.common.arrays import Matrix
from custom_components.common.errors import InputError
from custom_components.fields.itk_bridge import image_matrix, image_vectors

Floats = npt.NDArray[np.float32]
COLUMNS_AT_ONCE = 128  # pixels that are interpolated in one product


@dataclass(frozen=True)
class BlockSources:
    """Where the pixels of a block come from.

    Attributes:
        rows: (h, w) float32, row in the source image less ``origin[0]``.
        columns: the same of columns.
        origin: first row and column of the source pixels that the block needs, whole numbers.
        size: how many rows and columns those are; may lie outside of the source.
    """

    rows: Floats
    columns: Floats
    origin: tuple[int, int]
    size: tuple[int, int]


class FieldBlocks:
    """The source positions of any block of a target image, linear between the field's voxels.

    Beyond the field's border its border value holds, as in ``transform_points``. The grids of field, target and source
    are parallel, which those of slides are; so rows and columns are interpolated one after the other.

    Args:
        displacement: displacement image, target -> source, physical units.
        target_matrix: (3, 3) index_to_physical of the target image.
        source_matrix: the same of the source image.

    Raises:
        InputError: a grid is turned against the others.
    """

    def __init__(self, displacement: Any, target_matrix: Matrix, source_matrix: Matrix) -> None:
        vectors = image_vectors(displacement).astype(np.float32)
        to_field = np.linalg.inv(image_matrix(displacement)) @ target_matrix
        to_source = np.linalg.inv(source_matrix)
        for matrix in (to_field, to_source @ target_matrix):
            if np.abs(matrix[[0, 1], [1, 0]]).max() > 1e-9 * np.abs(np.diag(matrix)[:2]).min():
                raise InputError("the field's grid is turned against the image's; such an image is warped as a whole")
        self.to_field = to_field
        self.base = to_source @ target_matrix
        # vectors (x, y) to rows and columns of the source
        turned = vectors @ to_source[:2, :2].T.astype(np.float32)
        self.vectors = np.moveaxis(turned, -1, 0).copy()

    def digest(self) -> str:
        """Of all that the positions depend on."""
        parts = (self.vectors, self.to_field, self.base)
        return hashlib.sha256(b"".join(np.ascontiguousarray(part).tobytes() for part in parts)).hexdigest()

    def __call__(self, row: int, column: int, height: int, width: int) -> BlockSources:
        """Of the block of ``height`` x ``width`` target pixels from a first one on."""
        axes = [np.arange(row, row + height), np.arange(column, column + width)]
        lines = [self.base[k, k] * axis + self.base[k, 2] for k, axis in enumerate(axes)]
        rows, columns = (self._between(k, axis) for k, axis in enumerate(axes))
        # of the field only the part that lies about the block
        shift = rows.down(self.vectors[:, rows.voxels, columns.voxels])
        # a slide's positions are too large for float32, those in a block are not
        first = [np.floor(float(line.min()) + float(shift[k].min())) for k, line in enumerate(lines)]
        shift[0] += (lines[0] - first[0]).astype(np.float32)[:, None]
        maps = columns.across(shift)
        maps[1] += (lines[1] - first[1]).astype(np.float32)
        low, high = ([float(end(part)) for part in maps] for end in (np.min, np.max))
        origin = int(first[0] + np.floor(low[0])), int(first[1] + np.floor(low[1]))
        for part, least in zip(maps, low, strict=True):
            if np.floor(least) != 0:  # the voxels about the block reach farther than its pixels
                part -= np.float32(np.floor(least))
        size = tuple(int(np.ceil(top - np.floor(least))) + 2 for least, top in zip(low, high, strict=True))
        return BlockSources(maps[0], maps[1], origin, (size[0], size[1]))

    def _between(self, k: int, positions: npt.NDArray[Any]) -> _Between:
        """How target rows (k 0) or columns (k 1) lie between the field's voxels."""
        last = self.vectors.shape[1 + k] - 1
        place = np.clip(self.to_field[k, k] * positions + self.to_field[k, 2], 0, last)
        before = np.minimum(place.astype(np.int64), max(last - 1, 0))
        after = np.minimum(before + 1, last)
        first = int(before.min())
        voxels = slice(first, int(after.max()) + 1)
        return _Between(voxels, before - first, after - first, (place - before).astype(np.float32))


@dataclass(frozen=True)
class _Between:
    """Linear interpolation along one axis: the voxels that it needs, and of each position both neighbours in them."""

    voxels: slice
    before: npt.NDArray[np.int64]
    after: npt.NDArray[np.int64]
    fraction: Floats

    def down(self, values: Floats) -> Floats:
        """(2, voxels, m) -> (2, positions, m)."""
        return values[:, self.before] + (values[:, self.after] - values[:, self.before]) * self.fraction[:, None]

    def across(self, values: Floats) -> Floats:
        """(2, n, voxels) -> (2, n, positions)."""
        # a product with a matrix of two entries a column writes the result once; of a few columns it is a small one
        count = len(self.fraction)
        result = np.empty((*values.shape[:2], count), dtype=np.float32)
        for start in range(0, count, COLUMNS_AT_ONCE):
            some = slice(start, min(start + COLUMNS_AT_ONCE, count))
            before, after, fraction = self.before[some], self.after[some], self.fraction[some]
            first, last = int(before.min()), int(after.max())
            weights = np.zeros((last - first + 1, len(fraction)), dtype=np.float32)
            positions = np.arange(len(fraction))
            weights[before - first, positions] = 1 - fraction
            weights[after - first, positions] += fraction
            np.matmul(values[:, :, first : last + 1], weights, out=result[:, :, some])
        return result
