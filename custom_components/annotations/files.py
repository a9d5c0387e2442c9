"""Files of annotations and points carried to the other image of a pair."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from custom_components.annotations.coordinates import Coordinates, coordinates
from custom_components.annotations.point_map import PointMap
from custom_components.annotations.ragged import Annotations, parse_annotations
from custom_components.annotations.transform import ERROR_NAME, warp_geojson, warp_points_reported
from custom_components.common.arrays import Points
from custom_components.common.errors import InputError
from custom_components.pairs import (
    PointTable,
    read_annotations,
    read_point_table,
    write_annotations,
    write_point_table,
)
from custom_components.pairs.unreadable import about_file
from custom_components.pairs.volume_points import (
    from_voxels,
    is_markups,
    place_notes,
    read_volume_points,
    to_voxels,
    write_volume_points,
)

# what a user may call the voxels of a volume
VOXEL_NAMES = {"pixel": "voxel", "pixels": "voxel", "voxels": "voxel"}
ORIGINS = ("corner", "centre")
PixelSize = tuple[float, float]


@dataclass(frozen=True)
class Convention:
    """What the numbers of a file mean, where the user says so; None leaves it to the file.

    Attributes:
        unit: "pixel" (of the full resolution) or "micrometre"; of volumes "lps", "ras" or "voxel".
        origin: (0, 0) is the outer "corner" of the first pixel, as in QuPath, or its "centre".
        source_size: (row, col) micrometres of a pixel of the image that the file lies on; None where unknown.
        target_size: likewise of the other image.
    """

    unit: str | None = None
    origin: str | None = None
    source_size: PixelSize | None = None
    target_size: PixelSize | None = None

    def sides(self, way: PointMap, unit: str, corner: bool) -> tuple[Coordinates, Coordinates]:
        """Coordinates on the source and the target image, of files that by themselves are in ``unit``."""
        if self.origin is not None and self.origin not in ORIGINS:
            raise InputError(f"--origin is {' or '.join(ORIGINS)}, got '{self.origin}'")
        chosen, at_corner = self.unit or unit, corner if self.origin is None else self.origin == "corner"
        return (
            coordinates(chosen, self.source_size, way.source, at_corner),
            coordinates(chosen, self.target_size, way.target, at_corner),
        )


def check_annotations(file: Path) -> Annotations:
    """Read annotations as far as they can be carried over.

    Raises:
        InputError: with the name of the file: it can't be read, or holds what no annotations are.
    """
    data = read_annotations(file).data
    with about_file(file, "annotations"):
        return parse_annotations(data)


def warp_geojson_file(given: Path, path: Path, way: PointMap, convention: Convention) -> list[str]:
    """Carry annotations from ``given`` to ``path``; pixels from the outer corner unless the convention says otherwise.

    ``read_annotations`` and ``write_annotations`` say in which forms.

    Returns:
        What the user should know, a sentence each.

    Raises:
        InputError: a wrong file or convention, or ``path`` can't be written.
    """
    sides = convention.sides(way, "pixel", corner=True)
    read = read_annotations(given)
    with about_file(given, "annotations"):
        data, found = warp_geojson(read.data, way, *sides)
    lost = write_annotations(path, data, read.form, read.table)
    return [*read.notes, *found.notes(way), *lost]


def warp_volume_points_file(given: Path, path: Path, way: PointMap, convention: Convention) -> list[str]:
    """Carry points of a volume from ``given`` to ``path``, of the same form and in the same space.

    Args:
        given: CSV with columns X, Y, Z, or fiducials of 3D Slicer (.fcsv, .mrk.json).
        path: to write.
        way: from the volume that they lie in to the other.
        convention: its ``unit`` is the space of a table, one of ``volume_points.SPACES``.

    Where the way knows how far it may be off, a table gets a column ``expected_error``, in millimetres (voxels where
    the volumes state none).

    Returns:
        What the user should know, a sentence each.

    Raises:
        InputError: a wrong file, space or origin, or ``path`` can't be written.
    """
    if convention.origin not in (None, "centre"):
        raise InputError("--origin is of sections; in volumes the first voxel's centre is 0, 0, 0")
    named = str(convention.unit).lower() if convention.unit is not None else None
    table = read_volume_points(given, VOXEL_NAMES.get(named, named) if named is not None else None)
    start = to_voxels(table.points, table.space, way.source_grid, f"the {way.source} image")
    moved, found = warp_points_reported(start, way)
    places = from_voxels(moved, table.space, way.target_grid, f"the {way.target} image")
    columns, notes = {}, list(table.notes)
    if way.error_map is not None:
        if is_markups(given):
            notes.append(f"{given.name} has no place for the points' expected errors; a table with X, Y, Z has")
        else:
            columns = {ERROR_NAME: way.errors(start, moved)[:, 0]}
            notes += _unknown_notes(columns[ERROR_NAME], start)
    write_volume_points(path, table, places, columns)
    grids = {way.source: way.source_grid, way.target: way.target_grid}
    return [*notes, *place_notes(table.space, grids), *found.notes(way, "points")]


def warp_points_file(given: Path, path: Path, way: PointMap, convention: Convention) -> list[str]:
    """Carry a table of points from ``given`` to ``path``, all other columns kept as they are.

    Columns X and Y are pixels, centres at integers; QuPath's centroids say their unit and begin at the outer corner,
    Xenium's are micrometres. ImageJ's table of results is in the unit of the calibration, which it does not say.

    Where the way knows how far it may be off, there is a column ``expected_error``, pixels of the target image.

    Returns:
        What the user should know, a sentence each.

    Raises:
        InputError: a wrong file or convention, or ``path`` can't be written.
    """
    if is_markups(given):
        raise InputError(f"{given} holds points of a volume, as 3D Slicer writes them, but the result is of sections")
    table = read_point_table(given, way.source)
    notes = [*table.notes, *_unit_notes(table, convention, way)]
    if table.columns.stated and convention.unit not in (None, table.unit):
        raise InputError(
            f"{given} has {table.header[table.x]} and {table.header[table.y]}, but --unit says {convention.unit}; "
            "leave --unit out"
        )
    try:
        source, target = convention.sides(way, table.unit or "pixel", table.centroid)
    except InputError as error:
        raise InputError(f"{given} has {table.header[table.x]} and {table.header[table.y]}: {error}") from error
    start = source.to_pixels(table.points())
    moved, found = warp_points_reported(start, way)
    carried = table.with_points(target.from_pixels(moved))
    if way.error_map is not None:
        if table.columns.headed:
            errors = way.errors(start, moved)[:, 0]
            carried = carried.with_named_column(ERROR_NAME, errors)
            notes += _unknown_notes(errors, start)
        else:
            notes.append(f"{given.name} has no header, so that the points' expected errors are not written")
    write_point_table(path, carried)
    return [*notes, *found.notes(way, "points")]


def _unknown_notes(errors: Points, points: Points) -> list[str]:
    """What the cells without an expected error mean."""
    unknown = int((np.isnan(errors) & np.isfinite(points).all(axis=1)).sum())
    if unknown == 0:
        return []
    return [f"{unknown} of {len(points)} points lie on fixed tissue without a counterpart: their {ERROR_NAME} is empty"]


def _unit_notes(table: PointTable, convention: Convention, way: PointMap) -> list[str]:
    """What is assumed of a unit that the table does not say.

    Raises:
        InputError: an assumption would be wrong as often as right.
    """
    program = table.columns.program
    if convention.unit is not None or program not in ("ImageJ", "BigWarp"):
        return []
    if convention.source_size is not None and max(convention.source_size) != 1:
        size = " x ".join(f"{side:g}" for side in reversed(convention.source_size))
        raise InputError(
            f"{table.file} is a table of {program}, whose numbers are in the unit of the image's calibration, and the "
            f"{way.source} image states pixels of {size} µm: say --unit micrometre if it was calibrated in {program}, "
            "else --unit pixel"
        )
    return [
        f"{table.file.name} is a table of {program} and read as pixels; if the image was calibrated there, say --unit "
        "micrometre"
    ]
