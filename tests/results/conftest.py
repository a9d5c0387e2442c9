"""Results on disk whose fields are known affine maps between two images that lie apart, in 2-D and 3-D."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from custom_components.fields import Grid, displacement_image, index_to_physical, write_displacement

ANGLE = np.deg2rad(6)
SUFFIX = {2: ".mha", 3: ".nii.gz"}


@dataclass
class Known:
    """A result and what it should say.

    Attributes:
        folder: of the pair.
        fixed: grid of the fixed image.
        moving: grid of the moving image.
        linear: (D, D) of fixed pixels -> moving pixels.
        shift: (D,) of the same.
    """

    folder: Path
    fixed: Grid
    moving: Grid
    linear: np.ndarray
    shift: np.ndarray

    def map(self, points: np.ndarray, direction: str) -> np.ndarray:
        """(..., D) full-resolution pixels, row, col, of the one image -> of the other."""
        if direction == "fixed_to_moving":
            return points @ self.linear.T + self.shift
        return (points - self.shift) @ np.linalg.inv(self.linear).T

    def grids(self, direction: str) -> tuple[Grid, Grid]:
        """Of source and target."""
        return (self.moving, self.fixed) if direction == "moving_to_fixed" else (self.fixed, self.moving)

    @property
    def field(self) -> Path:
        return self.folder / f"displacement{SUFFIX[len(self.fixed.shape)]}"

    @property
    def inverse(self) -> Path:
        return self.field.with_name(f"inverse_{self.field.name}")

    def change(self, **entries: Any) -> None:
        """Other entries of metrics.json; None takes one away."""
        file = self.folder / "metrics.json"
        metrics = {**json.loads(file.read_text()), **entries}
        file.write_text(json.dumps({key: value for key, value in metrics.items() if value is not None}))


def known_grids(dimensions: int) -> tuple[Grid, Grid]:
    """(fixed, moving): sections in micrometres of two pixel sizes, volumes in millimetres, one of them turned."""
    if dimensions == 2:
        return Grid.of_pixels((90, 110), (0.5, 0.5)), Grid.of_pixels((100, 104), (0.25, 0.25))
    turn = np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    return (
        Grid((20, 24, 28), index_to_physical([1.0, 1.5, 2.0], [-9.0, 4.0, 1.0]), "millimetre", known=True),
        Grid((22, 30, 26), index_to_physical([1.2, 0.8, 2.0], [40.0, -6.0, 3.0], turn), "millimetre", known=True),
    )


@pytest.fixture
def make_result(tmp_path: Path) -> Callable[..., Known]:
    """Factory of results ``out/<name>`` of so many dimensions."""

    def make(dimensions: int = 2, name: str = "IHC_to_HE") -> Known:
        fixed, moving = known_grids(dimensions)
        linear, shift = 1.04 * np.eye(dimensions), np.array([1.0, 3.0, -2.0][-dimensions:])
        cosine, sine = 1.04 * np.cos(ANGLE), 1.04 * np.sin(ANGLE)
        linear[-2:, -2:] = [[cosine, -sine], [sine, cosine]]
        folder = tmp_path / "out" / name
        folder.mkdir(parents=True)
        known = Known(folder, fixed, moving, linear, shift)
        for file, direction in ((known.field, "fixed_to_moving"), (known.inverse, "moving_to_fixed")):
            start, end = (grid.shrunk(0.5) for grid in known.grids(direction))
            # beyond the image, so that no point of it meets the field's border
            start = start.cropped([-4] * dimensions, [side + 8 for side in start.shape])
            index = np.stack(np.indices(start.shape), -1).reshape(-1, dimensions).astype(np.float64)
            source, target = known.grids(direction)
            places = known.map(source.index(start.physical(index)), direction)
            ddf = (end.index(target.physical(places)) - index).T.reshape(1, dimensions, *start.shape)
            write_displacement(file, displacement_image(torch.from_numpy(ddf), start.matrix, end.matrix))
        metrics = {
            "id": name, "status": "ok", "reason": "", "unit": fixed.unit, "moving": "moving.tif", "fixed": "fixed.tif",
            "moving_pixel_size": [0.25, 0.25] if dimensions == 2 else None,
            "fixed_pixel_size": [0.5, 0.5] if dimensions == 2 else None,
            "moving_grid": moving.as_json(), "fixed_grid": fixed.as_json(),
        }  # fmt: skip
        (folder / "metrics.json").write_text(json.dumps(metrics))
        return known

    return make


@pytest.fixture(params=[2, 3])
def known(request: pytest.FixtureRequest, make_result: Callable[..., Known]) -> Known:
    """A result of sections and one of volumes."""
    return make_result(request.param)
