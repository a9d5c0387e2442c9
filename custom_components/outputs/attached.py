"""What comes with a pair and is carried over with its fields: landmarks and annotations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from custom_components.annotations import Coordinates, PointMap, warp_geojson, warp_points_reported
from custom_components.common.arrays import Points
from custom_components.fields import Grid
from custom_components.metrics import pair_metrics, volume_metrics
from custom_components.pairs import (
    Pair,
    match_landmarks,
    read_annotations,
    read_landmarks,
    read_points,
    warped_name,
    write_annotations,
    write_points,
)
from custom_components.pairs.landmarks import LandmarkMatch
from custom_components.pairs.unreadable import about_file
from custom_components.pairs.volume_points import (
    VolumePoints,
    as_landmarks,
    from_voxels,
    place_notes,
    read_volume_points,
    to_voxels,
    write_xyz,
)


@dataclass(frozen=True)
class CarriedLandmarks:
    """Landmarks that both images have, row i of all is one structure.

    Attributes:
        moving: (N, D) row, col of the moving image; of volumes, slice, row, col of the fixed one, where they lie
            in the space that both have in common.
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
    if len(way.target_grid.shape) == 3:
        return _carry_in_volumes(pair, pair.moving_landmarks, way, folder, metrics)
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


def _carry_in_volumes(
    pair: Pair, file: Path, way: PointMap, folder: Path, metrics: dict[str, Any]
) -> CarriedLandmarks | None:
    moving, fixed = way.source_grid, way.target_grid
    given = read_volume_points(file, pair.point_space)
    start = to_voxels(given.points, given.space, moving, "the moving image")
    warped, report = warp_points_reported(start, way)
    write_xyz(folder / "warped_landmarks.csv", from_voxels(warped, given.space, fixed, "the fixed image"), given.names)
    notes = [*given.notes, *place_notes(given.space, {"moving": moving, "fixed": fixed})]
    notes += report.notes(way, "landmarks")
    metrics["landmark_spaces"] = {"moving": given.space}
    found = None
    if pair.fixed_landmarks is not None:
        other = read_volume_points(pair.fixed_landmarks, pair.point_space)
        metrics["landmark_spaces"]["fixed"] = other.space
        match = match_landmarks(as_landmarks(given), as_landmarks(other))
        notes += [note for note in (*other.notes, *match.notes) if note not in notes]
        found = _both(given, other, warped, match, (moving, fixed))
        unit = "voxel" if fixed.unit == "pixel" else fixed.unit
        ends = [fixed.physical(points) for points in found.points]
        metrics["landmarks"] = asdict(volume_metrics(ends[0], ends[1], ends[2], unit))
    metrics["notes"] = [*metrics.get("notes", []), *notes]
    return found


def _both(
    given: VolumePoints, other: VolumePoints, warped: Points, match: LandmarkMatch, grids: tuple[Grid, Grid]
) -> CarriedLandmarks:
    """The landmarks of volumes that both files have."""
    moving, fixed = grids
    start = fixed.index(moving.physical(to_voxels(given.points, given.space, moving)))
    truth = to_voxels(other.points, other.space, fixed, "the fixed image")
    names = [given.names[row] for row in match.moving]
    return CarriedLandmarks(start[match.moving], warped[match.moving], truth[match.fixed], names)


def read_carried(metrics: dict[str, Any], folder: Path) -> CarriedLandmarks | None:
    """The landmarks of a result that is written already; None where their files are not there any more.

    Args:
        metrics: of the pair.
        folder: of the pair.
    """
    inputs = metrics.get("run", {}).get("inputs", {})
    stated = [inputs.get(f"{side}_landmarks", {}).get("path") for side in ("moving", "fixed")]
    carried = folder / "warped_landmarks.csv"
    files = [Path(path) for path in (*stated, carried) if path is not None and Path(path).is_file()]
    if len(files) < 3:
        return None
    if len(metrics["fixed_grid"]["shape"]) == 2:
        first, second = read_landmarks(files[0]), read_landmarks(files[1], "fixed")
        match = match_landmarks(first, second)
        names = [first.index[row] for row in match.moving]
        warped = read_points(carried)[match.moving]
        return CarriedLandmarks(first.points[match.moving], warped, second.points[match.fixed], names)
    moving, fixed = (Grid.from_json(metrics[f"{side}_grid"], metrics["unit"]) for side in ("moving", "fixed"))
    spaces = metrics["landmark_spaces"]
    given, other = read_volume_points(files[0], spaces["moving"]), read_volume_points(files[1], spaces["fixed"])
    places = to_voxels(read_volume_points(carried, given.space).points, given.space, fixed)
    return _both(given, other, places, match_landmarks(as_landmarks(given), as_landmarks(other)), (moving, fixed))


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
    with about_file(file, "annotations"):
        data, found = warp_geojson(given.data, way, level, level)
    lost = write_annotations(folder / warped_name(file, _prefix(key)), data, given.form, given.table)
    metrics[key] = {"objects": found.objects, "notes": [*given.notes, *found.notes(way), *lost]}


def _prefix(key: str) -> str:
    return "warped_fixed_" if key.startswith("fixed") else "warped_"
