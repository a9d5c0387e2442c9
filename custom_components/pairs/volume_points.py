"""Points of volumes: tables with columns X, Y, Z, and the fiducials of 3D Slicer (.fcsv, .mrk.json).

Their three numbers are x, y, z in one of ``SPACES``: millimetres in LPS (ITK, DICOM) or RAS (3D Slicer, NIfTI), or
voxels, column, row and slice, with the first voxel's centre at 0. Slicer's files state theirs; a table does not.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from custom_components.common.arrays import Points
from custom_components.common.errors import InputError
from custom_components.fields.grid import Grid
from custom_components.pairs.atomic import atomic_path
from custom_components.pairs.cells import cell_text
from custom_components.pairs.formats import UNREADABLE
from custom_components.pairs.landmarks import Landmarks
from custom_components.pairs.point_table import DECIMALS, PointTable, read_point_table, write_point_table

SPACES = ("lps", "ras", "voxel")
LPS_RAS = np.array([-1.0, -1.0, 1.0])
NAME_Z = re.compile(r"(?:centroid )?z(?:[ _]?[(\[]?(?:px|pixels?|vx|voxels?)[)\]]?)?")
# Slicer writes names, before version 4.6 numbers
SLICER = {"LPS": "lps", "RAS": "ras", "IJK": "voxel", "0": "ras", "1": "lps", "2": "voxel"}
COLUMNS = ("id", "x", "y", "z", "ow", "ox", "oy", "oz", "vis", "sel", "lock", "label", "desc", "associatedNodeID")


@dataclass(frozen=True)
class VolumePoints:
    """Points of a volume as their file has them.

    Attributes:
        file: they were read from.
        points: (N, 3) x, y, z in ``space``.
        space: one of ``SPACES``.
        names: one a point.
        content: what else the file holds, to write it again.
        notes: what a user should know of how it was read.
    """

    file: Path
    points: Points
    space: str
    names: tuple[str, ...]
    content: Any
    notes: tuple[str, ...] = ()


def as_landmarks(given: VolumePoints) -> Landmarks:
    """Points as ``match_landmarks`` takes them; their coordinates don't matter to it."""
    names, counts = list(given.names), [str(number) for number in range(len(given.names) + 1)]
    known = names if len(set(names)) == len(names) else None
    return Landmarks(given.file, given.points, names, known, names in (counts[:-1], counts[1:]))


def check_space(space: str | None) -> str | None:
    """The space in lower case, None where none is given.

    Raises:
        InputError: it is none of ``SPACES``.
    """
    if space is None or str(space).strip() == "":
        return None
    found = str(space).strip().lower()
    if found not in SPACES:
        raise InputError(f"points of volumes are in {', '.join(SPACES[:-1])} or {SPACES[-1]}, got '{space}'")
    return found


def is_markups(path: str | Path) -> bool:
    """Whether a file's name is that of Slicer's fiducials."""
    return Path(path).name.lower().endswith((".fcsv", ".mrk.json"))


def read_volume_points(path: str | Path, space: str | None = None) -> VolumePoints:
    """Read points of a volume.

    Args:
        path: CSV with columns X, Y, Z, .fcsv or .mrk.json.
        space: of a table's numbers; Slicer's files state theirs, and another one is refused.

    Raises:
        InputError: no such file, none that can be read, no points, a value that is not finite, or a table whose space
            is not given.
    """
    file, wanted = Path(path), check_space(space)
    if not file.is_file():
        raise InputError(f"landmarks {file} do not exist")
    if not is_markups(file):
        found = _read_table(file, wanted)
    else:
        try:
            text = file.read_text(encoding="utf-8-sig")
            found = _read_fcsv(file, text) if file.suffix.lower() == ".fcsv" else _read_markups(file, text)
        except InputError:
            raise
        except UNREADABLE as error:
            said = str(error)[:300]
            raise InputError(f"landmarks {file} can't be read as fiducials of 3D Slicer: {said}") from error
        if wanted not in (None, found.space):
            raise InputError(f"{file} states that its points are in {found.space}, not {wanted}; leave that out")
    if len(found.points) == 0:
        raise InputError(f"landmarks {file} hold no points")
    bad = ~np.isfinite(found.points).all(axis=1)
    if bad.any():
        raise InputError(f"landmarks {file}: point {int(bad.argmax()) + 1} has no finite X, Y and Z")
    return found


def write_volume_points(
    path: str | Path, given: VolumePoints, points: Points, columns: Mapping[str, Points] | None = None
) -> None:
    """Write the file again with other points in the same space, all else kept, whole or not at all.

    Args:
        path: the file.
        given: as ``read_volume_points`` gives it.
        points: (N, 3) x, y, z.
        columns: (N,) further numbers of a table, by name.

    Raises:
        InputError: the file can't be written.
    """
    content = given.content
    if isinstance(content, PointTable):
        table = content.with_points(points[:, :2]).with_column(column_z(content), points[:, 2])
        for name, values in (columns or {}).items():
            table = table.with_named_column(name, values)
        write_point_table(path, table)
    elif isinstance(content, dict):
        with atomic_path(path) as partial:
            partial.write_text(json.dumps(_moved(content, points), indent=4), encoding="utf-8")
    else:
        comments, rows, places = content
        for row, point in zip(rows, points, strict=True):
            for place, value in zip(places, _texts(point), strict=True):
                row[place] = value
        text = StringIO()
        csv.writer(text, lineterminator="\n").writerows(rows)
        with atomic_path(path) as partial:
            partial.write_text("".join(f"{line}\n" for line in comments) + text.getvalue(), encoding="utf-8")


def write_xyz(path: str | Path, points: Points, names: Sequence[str]) -> None:
    """Write (N, 3) x, y, z with the header ``,X,Y,Z``, whole or not at all.

    Raises:
        InputError: the file can't be written.
    """
    table = pd.DataFrame(points, columns=["X", "Y", "Z"], index=list(names))
    with atomic_path(path) as partial:
        table.to_csv(partial)


def to_voxels(points: Points, space: str, grid: Grid, what: str = "the image") -> Points:
    """(N, 3) x, y, z in ``space`` -> (N, 3) slice, row, column of a volume's file, voxel centres at integers.

    Args:
        points: as a file has them.
        space: one of ``SPACES``.
        grid: of the volume's file.
        what: messages call the volume.

    Raises:
        InputError: millimetres of a volume that states none.
    """
    if space == "voxel":
        return np.asarray(points[:, ::-1], dtype=np.float64)
    return grid.index(points * (LPS_RAS if _in_millimetres(space, grid, what) == "ras" else 1.0))


def from_voxels(voxels: Points, space: str, grid: Grid, what: str = "the image") -> Points:
    """Inverse of ``to_voxels``."""
    if space == "voxel":
        return np.asarray(voxels[:, ::-1], dtype=np.float64)
    return grid.physical(voxels) * (LPS_RAS if _in_millimetres(space, grid, what) == "ras" else 1.0)


def place_notes(space: str, grids: Mapping[str, Grid]) -> list[str]:
    """What a user should know of points in millimetres on volumes, named, whose files do not say where they lie."""
    unknown = [name for name, grid in grids.items() if space != "voxel" and not grid.known]
    return [
        f"the file of the {name} image does not state where it lies: {space} counts from its assumed place there, "
        "voxels would be certain"
        for name in unknown
    ]


def _in_millimetres(space: str, grid: Grid, what: str) -> str:
    if grid.unit != "millimetre":
        raise InputError(
            f"{what} has no millimetres, as one of the pair's files states none: give points in voxels, not {space}"
        )
    return space


def column_z(table: PointTable) -> int:
    """The column of z of a table with x and y.

    Raises:
        InputError: there is none.
    """
    names = [" ".join(name.lower().split()) for name in table.header]
    found = [place for place, name in enumerate(names) if NAME_Z.fullmatch(name)]
    if not found:
        raise InputError(
            f"landmarks {table.file} need columns X, Y and Z for a volume, found {', '.join(table.header)}"
        )
    plain = [place for place in found if names[place] == "z"]
    return (plain or found)[0]


def _read_table(file: Path, space: str | None) -> VolumePoints:
    table = read_point_table(file)
    place = column_z(table)
    if space is None:
        raise InputError(
            f"{file} does not say what its X, Y, Z are: state lps or ras (millimetres) or voxel (column, row, slice), "
            "by point_space (an option or a column of the pair table) when registering, by --unit in warpzoo apply"
        )
    if table.unit == "micrometre" or (table.unit == "pixel" and space != "voxel"):
        stated = f"{table.header[table.x]}, {table.header[table.y]}"
        raise InputError(f"{file} has columns {stated}, which are not {space}; name them X, Y, Z if they are")
    texts = [cell_text(cell) for cell in table.cells[place]]
    texts = [text.replace(",", ".") for text in texts] if table.comma else texts
    z = pd.to_numeric(pd.Series(texts, dtype=object), errors="coerce").to_numpy(np.float64)
    points = np.column_stack([table.points(), z])
    named = 0 not in (table.x, table.y, place)
    names = tuple(map(cell_text, table.cells[0])) if named else tuple(str(i + 1) for i in range(len(points)))
    return VolumePoints(file, points, space, names, table, table.notes)


def _read_fcsv(file: Path, text: str) -> VolumePoints:
    comments = [line for line in text.splitlines() if line.startswith("#")]
    stated = dict(re.findall(r"^#\s*(CoordinateSystem|columns)\s*=\s*(.+?)\s*$", "\n".join(comments), re.MULTILINE))
    system = stated.get("CoordinateSystem", "").upper()
    if system not in SLICER:
        raise InputError(f"landmarks {file} state no coordinate system that is known: '{system}'; save them anew")
    columns = [name.strip() for name in stated.get("columns", ",".join(COLUMNS)).split(",")]
    places = [columns.index(axis) for axis in "xyz"]
    rows = [row for row in csv.reader(line for line in text.splitlines() if line and not line.startswith("#")) if row]
    points = np.array([[float(row[place]) for place in places] for row in rows]).reshape(-1, 3)
    label = columns.index("label") if "label" in columns else 0
    names = tuple(row[label] if label < len(row) and row[label] else str(n + 1) for n, row in enumerate(rows))
    return VolumePoints(file, points, SLICER[system], names, (comments, rows, places))


def _control_points(content: Any) -> list[Any]:
    (markup,) = content["markups"]
    return list(markup["controlPoints"])


def _read_markups(file: Path, text: str) -> VolumePoints:
    content = json.loads(text)
    if len(content["markups"]) != 1:
        raise InputError(f"landmarks {file} hold {len(content['markups'])} lists of points; save one a file")
    markup, points = content["markups"][0], _control_points(content)
    system = str(markup.get("coordinateSystem", "LPS")).upper()
    if system not in SLICER:
        raise InputError(f"landmarks {file} state no coordinate system that is known: '{system}'")
    if str(markup.get("coordinateUnits", "mm")) not in ("mm", "['mm']"):
        raise InputError(f"landmarks {file} are in {markup['coordinateUnits']}; save them in mm")
    unset = [n for n, point in enumerate(points) if point.get("positionStatus", "defined") != "defined"]
    if unset:
        raise InputError(f"landmarks {file}: point {unset[0] + 1} was not placed; delete it, or place it")
    names = tuple(str(point.get("label") or n + 1) for n, point in enumerate(points))
    places = np.array([point["position"] for point in points], dtype=np.float64).reshape(-1, 3)
    return VolumePoints(file, places, SLICER[system], names, content)


def _moved(content: dict[str, Any], points: Points) -> dict[str, Any]:
    copy: dict[str, Any] = json.loads(json.dumps(content))
    for control, point in zip(_control_points(copy), points, strict=True):
        control["position"] = [float(value) for value in point]
    copy["markups"][0].pop("measurements", None)  # of the places before
    return copy


def _texts(values: Points) -> list[str]:
    return [repr(float(value)) for value in values.round(DECIMALS)]
