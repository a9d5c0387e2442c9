"""How far a field may be off, by place: the expected error and the bound that 95 % of places stay below.

An error has no direction, so where the voxels of a grid are longer on one axis than on another its length is not known
from its voxels: it is taken for one along the longest side. Where lengths become pixels again the shortest side counts.
Neither way the map says too little; of the square pixels of sections both are exact.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from scipy.ndimage import map_coordinates
from torch import Tensor

from custom_components.common.arrays import Array, Matrix, Points
from custom_components.common.errors import InputError
from custom_components.fields.geometry import apply_matrix
from custom_components.fields.grid import Grid
from custom_components.fields.itk_bridge import image_matrix, image_vectors, vector_image
from custom_components.fields.regridding import upright_grid

COMPONENTS = 2


@dataclass(frozen=True)
class ErrorMap:
    """The errors to expect of a field fixed -> moving, on the fixed image.

    Attributes:
        image: SimpleITK's image of two floats a voxel, physical units: the expected error (half of the places are
            nearer) and the bound that 95 % of places stay below; both NaN where fixed tissue has no counterpart.
    """

    image: Any

    @classmethod
    def of_voxels(cls, error: Tensor, working: Grid, frame: Grid) -> ErrorMap:
        """The map of an estimate on the grid that the field itself is written on.

        Args:
            error: (1, 2, *spatial), voxels of ``working``.
            working: grid of the fixed working image.
            frame: of the fixed image as it was read, which the map is parallel to.
        """
        values = error[0].detach().cpu().double().numpy()
        grid = upright_grid(working, frame)
        if grid is not working:
            index = np.stack([axis.ravel() for axis in np.indices(grid.shape)], axis=1).astype(np.float64)
            values = _between(values, apply_matrix(grid.to(working), index)).T.reshape(COMPONENTS, *grid.shape)
        return cls(vector_image(np.moveaxis(values, 0, -1) * voxel_length(working), grid.matrix))

    def at(self, points: Points) -> Points:
        """(N, 2) physical lengths, expected and bound, at (N, D) physical points x, y[, z] of the fixed image.

        Linear between voxels; beyond the border the border value, as of the field; NaN points have NaN.
        """
        found = np.full((len(points), COMPONENTS), np.nan)
        known = np.isfinite(points).all(axis=1)
        if known.any():
            index = apply_matrix(np.linalg.inv(self._matrix), np.asarray(points, dtype=np.float64)[known])
            found[known] = _between(self._values, index)
        return found

    def on(self, grid: Grid) -> Array:
        """(2, *spatial) physical lengths on any grid in the space of the fixed image."""
        index = np.stack([axis.ravel() for axis in np.indices(grid.shape)], axis=1).astype(np.float64)
        return self.at(grid.physical(index)).T.reshape(COMPONENTS, *grid.shape)

    @cached_property
    def has_unknown(self) -> bool:
        """Whether the error is unknown, NaN, somewhere: where fixed tissue has no counterpart."""
        return bool(np.isnan(self._values).any())

    @cached_property
    def _values(self) -> Array:
        return np.moveaxis(image_vectors(self.image).astype(np.float64), -1, 0)

    @cached_property
    def _matrix(self) -> Matrix:
        return image_matrix(self.image)


def voxel_length(grid: Grid) -> float:
    """Physical length that one voxel of error is taken for: the longest side of a voxel."""
    return float(grid.spacing.max())


def pixels_per_length(grid: Grid) -> float:
    """Pixels that a physical length of error is taken for: of a pixel's shortest side."""
    return float(1 / grid.spacing.min())


def write_error_map(path: str | Path, errors: ErrorMap) -> None:
    """Write a map (.mha).

    Raises:
        InputError: the file can't be written.
    """
    try:
        sitk.WriteImage(errors.image, str(path), useCompression=True)
    except RuntimeError as error:
        raise InputError(f"error estimate {path} can't be written: give .mha in a folder that exists") from error


def read_error_map(path: str | Path) -> ErrorMap:
    """Read a map.

    Raises:
        InputError: it can't be read, or is no image of two components.
    """
    try:
        image = sitk.ReadImage(str(path))
    except RuntimeError as error:
        raise InputError(f"error estimate {path} is not readable as .mha; register the pair again") from error
    if image.GetNumberOfComponentsPerPixel() != COMPONENTS:
        raise InputError(f"{path} is no error estimate: {image.GetNumberOfComponentsPerPixel()} components, not 2")
    return ErrorMap(sitk.Cast(image, sitk.sitkVectorFloat32))


def _between(values: Array, index: Points) -> Points:
    """(N, C) of (C, *spatial) at (N, D) array indices."""
    return np.stack([map_coordinates(part, index.T, order=1, mode="nearest") for part in values], axis=1)
