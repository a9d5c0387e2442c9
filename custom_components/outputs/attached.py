"""What comes with a pair and is carried over with its fields: landmarks and annotations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from custom_components.annotations import Coordinates, PointMap, warp_geojson
from custom_components.common.arrays import Points
from custom_components.metrics import pair_metrics
from custom_components.pairs import (
    Pair,
    match_landmarks,
    read_annotations,
    read_landmarks,
    warped_name,
    write_annotations,
    write_points,
)


@dataclass(frozen=True)
class CarriedLandmarks:
    """Landmarks that both images have, row i of all is one structure.

    Attributes:
        moving: (N, 2) row, col of the moving image.
        warped: of the fixed image, where the field puts them.
        fixed: of the fixed image, where they are.
        names: N of them, as the moving file has them.
    """

    moving: Points
    warped: Points
    fixed: Points
    names: Sequence[str]

    @property
    def points(self) -> tuple[Points, Points, Points]:
        """Moving, warped, fixed."""
        return self.moving, self.warped, self.fixed


def carry_landmarks(pair: Pair, way: PointMap, folder: Path, metrics: dict[str, Any]) -> CarriedLandmarks | None:
    """Write the moving landmarks as they lie in the fixed image, all rows, and measure those that both files have.

    Args:
        pair: with its files.
        way: from the moving to the fixed image.
        folder: that ``warped_landmarks.csv`` is written to.
        metrics: get ``landmarks``, and ``notes`` on how the files were read and matched.

    Returns:
        What both files have; None unless there are two.

    Raises:
        InputError: a file is wrong, or both have nothing in common.
    """
    if pair.moving_landmarks is None:
        return None
    start = read_landmarks(pair.moving_landmarks)
    warped = way(start.points)
    write_points(folder / "warped_landmarks.csv", warped, start.index)
    notes = list(start.notes)
    found = None
    if pair.fixed_landmarks is not None:
        truth = read_landmarks(pair.fixed_landmarks, "fixed")
        match = match_landmarks(start, truth)
        notes += [note for note in truth.notes if note not in notes] + list(match.notes)
        names = [start.index[row] for row in match.moving]
        found = CarriedLandmarks(start.points[match.moving], warped[match.moving], truth.points[match.fixed], names)
        diagonal = float(np.linalg.norm(way.target_grid.shape))
        metrics["landmarks"] = asdict(pair_metrics(*found.points, diagonal))
    metrics["notes"] = [*metrics.get("notes", []), *notes]
    return found


def carry_annotations(file: Path, way: PointMap, folder: Path, metrics: dict[str, Any], key: str) -> None:
    """Write annotations as they lie in the other image, in the form of their file.

    Args:
        file: of the image that ``way`` starts from.
        way: from that image to the other one.
        folder: to write to.
        metrics: get the number of objects and what is odd about them under ``key``.
        key: "annotations" or "fixed_annotations".
    """
    level = Coordinates(corner=True)  # as QuPath writes GeoJSON
    given = read_annotations(file)
    data, found = warp_geojson(given.data, way, level, level)
    lost = write_annotations(folder / warped_name(file, _prefix(key)), data, given.form)
    metrics[key] = {"objects": found.objects, "notes": [*given.notes, *found.notes(way), *lost]}


def _prefix(key: str) -> str:
    return "warped_fixed_" if key.startswith("fixed") else "warped_"
