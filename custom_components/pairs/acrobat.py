"""The tables of the ACROBAT challenge (Weitz et al., Medical Image Analysis 2024), all in micrometres.

A pair is an IHC section, which is moving, and an H&E section, which is fixed. A position in micrometres is the pixel
position times the micrometres per pixel, without half a pixel added, as the organisers convert it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import tifffile

from custom_components.common.arrays import Points
from custom_components.common.errors import InputError
from custom_components.pairs.atomic import atomic_path
from custom_components.pairs.cells import read_cells
from custom_components.pairs.formats import UNREADABLE, PixelSize, full_stem
from custom_components.pairs.pixel_sizes import stated_pixel_size

FILES = ["anon_filename_he", "anon_filename_ihc"]
POINT_COLUMNS = [*FILES, "point_id", "ihc_x", "ihc_y", "mpp_ihc_10X", "mpp_he_10X"]
SUBMISSION_COLUMNS = ["point_id", "he_x", "he_y"]
TRUTH_COLUMNS = [
    *FILES, "point_id", "ihc_x", "ihc_y", "he_x_1", "he_y_1", "he_x_2", "he_y_2", "max_he_x", "max_he_y",
]  # fmt: skip
# the tables name scanner files, while TIFFs are handed out
SUFFIXES = (".tif", ".tiff", ".ome.tif", ".ome.tiff")


@dataclass(frozen=True)
class AcrobatPair:
    """The points of one pair.

    Attributes:
        id: ``<moving>_to_<fixed>``, the stems of the images.
        moving: IHC file name as the table has it.
        fixed: H&E file name as the table has it.
        point_ids: N names.
        points: (N, 2) row, col in the IHC image, micrometres.
        moving_mpp: (N,) micrometres per pixel of the IHC image at 10x.
        fixed_mpp: (N,) the same of the H&E image.
        rows: (N,) of the table, as an editor counts them.
        anon_id: the case, "" where the table has no such column.
        antibody: "" likewise.
        source: name of the table.
    """

    id: str
    moving: str
    fixed: str
    point_ids: tuple[str, ...]
    points: Points
    moving_mpp: npt.NDArray[np.float64]
    fixed_mpp: npt.NDArray[np.float64]
    rows: tuple[int, ...]
    anon_id: str = ""
    antibody: str = ""
    source: str = ""


@dataclass(frozen=True)
class AcrobatTruth:
    """Where two annotators saw the points; every array (N, 2) is row, col, micrometres.

    Attributes:
        pair_ids: N, as ``AcrobatPair.id``.
        point_ids: N names.
        unregistered: position in the IHC image.
        annotators: positions in the H&E image, one array an annotator.
        extent: height and width of the H&E image.
    """

    pair_ids: tuple[str, ...]
    point_ids: tuple[str, ...]
    unregistered: Points
    annotators: tuple[Points, Points]
    extent: Points


def read_acrobat_points(path: str | Path) -> list[AcrobatPair]:
    """Pairs of a point table, in the order of their first points.

    Needed columns are ``POINT_COLUMNS``, in micrometres; ``anon_id`` and ``ihc_antibody`` are kept, ``he_x`` and
    ``he_y``, which the challenge leaves empty, are not read.

    Raises:
        InputError: no such file, no table, a missing column, no rows, a ``point_id`` that is there twice, or a number
            that is none or, of a pixel size, not positive.
    """
    file = Path(path)
    table = _read_table(file, "point table", POINT_COLUMNS)
    points = _positions(table, "ihc", file)
    sizes = [_numbers(table, column, file) for column in ("mpp_ihc_10X", "mpp_he_10X")]
    for column, values in zip(("mpp_ihc_10X", "mpp_he_10X"), sizes, strict=True):
        if (values <= 0).any():
            row = int((values <= 0).argmax())
            raise InputError(
                f"{file.name} row {row + 2}: {column} is {values[row]:g}; micrometres per pixel are positive"
            )
    identifiers = _pair_ids(table)
    pairs = []
    for identifier in dict.fromkeys(identifiers):
        which = [row for row, other in enumerate(identifiers) if other == identifier]
        first = table.iloc[which[0]]
        pairs.append(
            AcrobatPair(
                identifier, first["anon_filename_ihc"], first["anon_filename_he"],
                tuple(table["point_id"].iloc[which]), points[which], sizes[0][which], sizes[1][which],
                tuple(row + 2 for row in which), first.get("anon_id", ""), first.get("ihc_antibody", ""), file.name,
            )
        )  # fmt: skip
    return pairs


def read_acrobat_truth(path: str | Path) -> AcrobatTruth:
    """Where the annotators saw the points, from a CSV with ``TRUTH_COLUMNS``, all in micrometres.

    The challenge keeps its truth to itself, so the names are ours: those of the point table, ``he_x_1, he_y_1`` of the
    first annotator, ``he_x_2, he_y_2`` of the second (a single one stands in both) and the size of the H&E image.

    Raises:
        InputError: as ``read_acrobat_points``.
    """
    file = Path(path)
    table = _read_table(file, "truth", TRUTH_COLUMNS)
    return AcrobatTruth(
        tuple(_pair_ids(table)),
        tuple(table["point_id"]),
        _positions(table, "ihc", file),
        (_positions(table, "he", file, "_1"), _positions(table, "he", file, "_2")),
        _positions(table, "max_he", file),
    )


def read_acrobat_submission(path: str | Path) -> dict[str, Points]:
    """(2,) row, col in the H&E image, micrometres, of each submitted ``point_id``; rows without numbers are dropped.

    Raises:
        InputError: as ``read_acrobat_points``; empty cells and NaN are none of these.
    """
    file = Path(path)
    table = _read_table(file, "submission", SUBMISSION_COLUMNS)
    points = _positions(table, "he", file, empty=True)
    known = np.asarray(~np.isnan(points).any(axis=1))
    return {name: point for name, point, kept in zip(table["point_id"], points, known, strict=True) if kept}


def write_acrobat_submission(path: str | Path, point_ids: Sequence[str], points: Points) -> None:
    """Write ``point_id, he_x, he_y``, whole or not at all.

    Args:
        path: the CSV.
        point_ids: N names.
        points: (N, 2) row, col in the H&E image, micrometres.

    Raises:
        InputError: the file can't be written.
    """
    table = pd.DataFrame(dict(zip(SUBMISSION_COLUMNS, (list(point_ids), points[:, 1], points[:, 0]), strict=True)))
    with atomic_path(path) as partial:
        table.to_csv(partial, index=False)


def to_pixels(micrometres: Points, mpp: npt.ArrayLike) -> Points:
    """Positions in pixels.

    Args:
        micrometres: (N, 2) row, col.
        mpp: micrometres per pixel, (N,), or (2,) row, col as an image states it.
    """
    return micrometres / _columns(mpp, micrometres)


def to_micrometres(pixels: Points, mpp: npt.ArrayLike) -> Points:
    """Positions in micrometres; see ``to_pixels``."""
    return pixels * _columns(mpp, pixels)


def _columns(mpp: npt.ArrayLike, points: Points) -> Points:
    """(N, 2): a tuple is (row, col) of an image, an array holds one value a point."""
    sizes = np.asarray(mpp, dtype=np.float64)
    return np.broadcast_to(sizes if isinstance(mpp, tuple) else sizes[:, None], points.shape)


def slide_file(folder: str | Path, name: str, source: str) -> Path:
    """The image of a table's file name, whatever its suffix there: ``7_HE.ndpi`` is found as ``7_HE.tif``.

    Args:
        folder: of the images.
        name: in the table.
        source: table and row, for the message.

    Raises:
        InputError: none of ``SUFFIXES`` is there.
    """
    stem = full_stem(name)
    for suffix in SUFFIXES:
        if (found := Path(folder) / f"{stem}{suffix}").is_file():
            return found
    looked = ", ".join(f"{stem}{suffix}" for suffix in SUFFIXES)
    raise InputError(f"{source}: there is no image of '{name}' in {Path(folder).resolve()} (looked for {looked})")


def slide_header(path: str | Path) -> tuple[tuple[int, int], PixelSize | None]:
    """(rows, cols) and pixel size ((row, col) micrometres, None where unknown) of a TIFF, its pixels left unread.

    Raises:
        InputError: the file is no TIFF image.
    """
    try:
        with tifffile.TiffFile(path) as tiff:
            series = tiff.series[0]
            shape = series.shape[series.axes.index("Y")], series.shape[series.axes.index("X")]
            size, _ = stated_pixel_size(tiff)
    except UNREADABLE as error:
        raise InputError(f"image {path} can't be read as TIFF, it may be damaged or cut off: {error}") from error
    return (int(shape[0]), int(shape[1])), size


def check_inside(pair: AcrobatPair, pixels: Points, shape: tuple[int, int], image: Path) -> None:
    """Raise ``InputError`` unless all points of the pair lie in its moving image: mostly a unit was mistaken.

    Args:
        pair: where the points come from.
        pixels: (N, 2) row, col of ``image``, the pair's points divided by the micrometres per pixel.
        shape: (rows, cols) of ``image``.
        image: the file, for the message.
    """
    outside = np.asarray(((pixels < 0) | (pixels > shape)).any(axis=1))
    if not outside.any():
        return
    first = int(outside.argmax())
    (y, x), (row, column) = pair.points[first], pixels[first]
    as_they_are = ((pair.points >= 0) & (pair.points <= shape)).all()
    hint = (
        "as pixels they would fit; multiply them by the micrometres per pixel"
        if as_they_are
        else ("are they in micrometres, and is the image's own pixel size right (else --own_pixel_size false)?")
    )
    raise InputError(
        f"{pair.source} row {pair.rows[first]}: point {pair.point_ids[first]} at ({x:g}, {y:g}) micrometres is pixel "
        f"({column:.1f}, {row:.1f}), outside {image.name} of {shape[1]} x {shape[0]} pixels; {int(outside.sum())} of "
        f"{len(outside)} points of the pair are: {hint}"
    )


def _pair_ids(table: pd.DataFrame) -> list[str]:
    names = zip(table["anon_filename_ihc"], table["anon_filename_he"], strict=True)
    return [f"{full_stem(moving)}_to_{full_stem(fixed)}" for moving, fixed in names]


def _read_table(file: Path, what: str, columns: Sequence[str]) -> pd.DataFrame:
    """Cells as stripped text."""
    table = read_cells(file, what).reset_index(drop=True)
    missing = [name for name in columns if name not in table]
    if missing:
        raise InputError(
            f"{what} {file} has no column '{missing[0]}'; it has {', '.join(map(str, table.columns))}. "
            f"Needed are {', '.join(columns)}"
        )
    if table.empty:
        raise InputError(f"{what} {file} has no rows")
    for column in ("point_id", *(name for name in FILES if name in columns)):
        if (table[column] == "").any():
            raise InputError(f"{file.name} row {int((table[column] == '').argmax()) + 2}: {column} is empty")
    twice = table["point_id"].duplicated(keep=False)
    if twice.any():
        name = table["point_id"][twice].iloc[0]
        rows = [row + 2 for row, other in enumerate(table["point_id"]) if other == name]
        raise InputError(f"{file.name} rows {', '.join(map(str, rows))}: point_id '{name}' must stand in one row only")
    return table


def _numbers(table: pd.DataFrame, column: str, file: Path, empty: bool = False) -> npt.NDArray[np.float64]:
    """(N,) finite numbers of a column; NaN too where cells may be empty."""
    cells = table[column]
    values = pd.to_numeric(cells, errors="coerce").to_numpy(np.float64)
    bad = ~np.isfinite(values)
    if empty:
        bad &= ~cells.str.lower().isin(["", "nan"]).to_numpy()
    if bad.any():
        row = int(bad.argmax())
        raise InputError(f"{file.name} row {row + 2}: {column} is '{cells.iloc[row]}', which is not a finite number")
    return values


def _positions(table: pd.DataFrame, name: str, file: Path, ending: str = "", empty: bool = False) -> Points:
    """(N, 2) row, col from the columns ``<name>_x<ending>`` and ``<name>_y<ending>``."""
    return np.stack([_numbers(table, f"{name}_{axis}{ending}", file, empty) for axis in "yx"], axis=1)
