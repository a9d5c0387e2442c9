"""A pair's landmarks carried into the fixed image, and their errors."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from custom_components.annotations import PointMap, warp_points_reported
from custom_components.common.arrays import Points
from custom_components.fields import Grid
from custom_components.metrics import pair_metrics, volume_metrics
from custom_components.pairs import Pair, check_landmark_counts, read_index, read_points, write_points
from custom_components.pairs.volume_points import from_voxels, place_notes, read_volume_points, to_voxels, write_xyz

NAME = "warped_landmarks.csv"


@dataclass(frozen=True)
class CarriedLandmarks:
    """Landmarks as a report shows them.

    Attributes:
        places: (moving as annotated, warped, fixed) voxels (N, D) of the fixed image's file, array-axis order; of
            volumes, which have a space in common, the first where they lie in it.
        names: one a landmark.
    """

    places: tuple[Points, Points, Points]
    names: tuple[str, ...]


def carry_landmarks(pair: Pair, way: PointMap, folder: Path, metrics: dict[str, Any]) -> CarriedLandmarks | None:
    """Write ``warped_landmarks.csv`` and, with fixed landmarks, ``metrics["landmarks"]``.

    Args:
        pair: whose files are read.
        way: from the moving to the fixed image.
        folder: to write into.
        metrics: of the pair; of volumes ``notes`` says which landmarks lie outside.

    Returns:
        None where the pair has no landmarks, or none of the fixed image.

    Raises:
        InputError: a file is wrong, both hold unequally many, or it can't be written.
    """
    if pair.moving_landmarks is None:
        return None
    if len(way.target_grid.shape) == 3:
        return _carry_volume(pair, pair.moving_landmarks, way, folder, metrics)
    start = read_points(pair.moving_landmarks)
    warped, names = way(start), read_index(pair.moving_landmarks)
    write_points(folder / NAME, warped, names)
    if pair.fixed_landmarks is None:
        return None
    truth = read_points(pair.fixed_landmarks)
    check_landmark_counts(start, truth, (pair.moving_landmarks, pair.fixed_landmarks))
    diagonal = float(np.linalg.norm(way.target_grid.shape))
    metrics["landmarks"] = asdict(pair_metrics(start, warped, truth, diagonal))
    return CarriedLandmarks((start, warped, truth), tuple(names))


def _carry_volume(
    pair: Pair, file: Path, way: PointMap, folder: Path, metrics: dict[str, Any]
) -> CarriedLandmarks | None:
    moving, fixed = way.source_grid, way.target_grid
    given = read_volume_points(file, pair.point_space)
    start = to_voxels(given.points, given.space, moving, "the moving image")
    warped, report = warp_points_reported(start, way)
    write_xyz(folder / NAME, from_voxels(warped, given.space, fixed, "the fixed image"), given.names)
    metrics["notes"] += place_notes(given.space, {"moving": moving, "fixed": fixed}) + report.notes(way, "landmarks")
    metrics["landmark_spaces"] = {"moving": given.space}
    if pair.fixed_landmarks is None:
        return None
    other = read_volume_points(pair.fixed_landmarks, pair.point_space)
    metrics["landmark_spaces"]["fixed"] = other.space
    truth = to_voxels(other.points, other.space, fixed, "the fixed image")
    check_landmark_counts(start, truth, (file, pair.fixed_landmarks))
    places = fixed.index(moving.physical(start)), warped, truth
    unit = "voxel" if fixed.unit == "pixel" else fixed.unit
    ends = [fixed.physical(points) for points in places]
    metrics["landmarks"] = asdict(volume_metrics(ends[0], ends[1], ends[2], unit))
    return CarriedLandmarks(places, given.names)


def read_carried(metrics: dict[str, Any], folder: Path) -> CarriedLandmarks | None:
    """The landmarks of a result that is written already; None where their files are not there any more.

    Args:
        metrics: of the pair.
        folder: of the pair.
    """
    inputs = metrics.get("run", {}).get("inputs", {})
    stated = [inputs.get(f"{side}_landmarks", {}).get("path") for side in ("moving", "fixed")]
    files = [Path(path) for path in (*stated, folder / NAME) if path is not None and Path(path).is_file()]
    if len(files) < 3:
        return None
    if len(metrics["fixed_grid"]["shape"]) == 2:
        start, truth, warped = map(read_points, files)
        return CarriedLandmarks((start, warped, truth), tuple(read_index(files[0])))
    moving, fixed = (Grid.from_json(metrics[f"{side}_grid"], metrics["unit"]) for side in ("moving", "fixed"))
    spaces = metrics["landmark_spaces"]
    given, other = read_volume_points(files[0], spaces["moving"]), read_volume_points(files[1], spaces["fixed"])
    start = fixed.index(moving.physical(to_voxels(given.points, given.space, moving)))
    warped = to_voxels(read_volume_points(files[2], spaces["moving"]).points, given.space, fixed)
    return CarriedLandmarks((start, warped, to_voxels(other.points, other.space, fixed)), given.names)
