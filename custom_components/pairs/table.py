"""Which images belong together: pair tables and single pairs."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Collection, Mapping, Sequence
from dataclasses import astuple, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from custom_components.common.arrays import SIDES
from custom_components.common.errors import InputError
from custom_components.pairs.cells import read_cells
from custom_components.pairs.formats import full_stem, is_image
from custom_components.pairs.reading import AS_STORED, COLUMNS, NAMES, Reading
from custom_components.pairs.volume_points import check_space

OPTIONAL = (
    "moving_landmarks", "fixed_landmarks", "moving_labels", "fixed_labels",
    "moving_mask", "fixed_mask", "moving_annotations", "fixed_annotations",
)  # fmt: skip
SPACE = "point_space"
# what Linux, macOS and Windows all take as the name of a folder
SAFE_ID = r'[^/\\:*?"<>|\x00-\x1f]+'
IMAGES = ("moving", "fixed", "moving_labels", "fixed_labels", "moving_mask", "fixed_mask")
LONGEST_ID = 200  # characters, and bytes: hidden names beside the folder are longer, and systems take 255
# Windows' devices, also with a suffix
DEVICES = re.compile(r"(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³]|conin\$|conout\$)\s*(\..*)?", re.IGNORECASE | re.DOTALL)
COVER_TABLE = {  # ANHIR / BIRL: the target stays, the source is warped
    "Target image": "fixed",
    "Source image": "moving",
    "Target landmarks": "fixed_landmarks",
    "Source landmarks": "moving_landmarks",
}


@dataclass(frozen=True)
class Pair:
    """One registration to do.

    Attributes:
        id: name of the output folder.
        moving: image that is warped.
        fixed: image that stays.
        moving_reading: how the moving image is read, where its file leaves that open.
        fixed_reading: the same of the fixed image.
        extra: further columns of the table, such as tissue or status.
        source: where the pair was named, for messages: "pairs.csv row 7".
        run: what identifies the result, see ``outputs.identity``; empty until a run takes the pair.
        point_space: of landmarks of volumes, one of ``volume_points.SPACES``, where their files do not state it.
    """

    id: str
    moving: Path
    fixed: Path
    moving_landmarks: Path | None = None
    fixed_landmarks: Path | None = None
    moving_labels: Path | None = None
    fixed_labels: Path | None = None
    moving_mask: Path | None = None
    fixed_mask: Path | None = None
    moving_annotations: Path | None = None
    fixed_annotations: Path | None = None
    moving_reading: Reading = AS_STORED
    fixed_reading: Reading = AS_STORED
    extra: Mapping[str, str] = field(default_factory=dict)
    source: str = ""
    run: Mapping[str, Any] = field(default_factory=dict)
    point_space: str | None = None


def check_pair(pair: Pair) -> None:
    """Raise ``InputError`` that names the first missing file of the pair and where it was looked for."""
    for entry in fields(pair):
        path = getattr(pair, entry.name)
        if isinstance(path, Path) and not (path.is_file() or (entry.name in IMAGES and is_image(path))):
            if entry.name in SIDES and path.is_dir():  # of a DICOM series
                continue
            what = f"{entry.name} image" if entry.name in ("moving", "fixed") else entry.name.replace("_", " ")
            where = f"{pair.source}: " if pair.source else ""
            raise InputError(f"{where}{what} '{path.name}' does not exist (looked in {path.parent.resolve()})")


def check_ids(ids: Sequence[str], name: str, reserved: Collection[str] = (), rows: Sequence[int] | None = None) -> None:
    """Raise ``InputError`` unless all ids differ and can name folders on any system.

    Args:
        ids: of the rows of a table, in its order.
        name: of the table; "command line" for a single pair.
        reserved: names of what a run writes beside the folders.
        rows: in the table's file; 2, 3, ... by default.
    """
    taken = {_folded(word) for word in reserved}
    seen: dict[str, str] = {}
    for number, identifier in zip(range(2, len(ids) + 2) if rows is None else rows, ids, strict=True):
        where = name if name == "command line" else f"{name} row {number}"
        if not re.fullmatch(SAFE_ID, identifier) or identifier[0] in ". " or identifier[-1] in ". ":
            raise InputError(f"{where}: id '{identifier}' can't name a folder")
        if DEVICES.fullmatch(identifier):
            raise InputError(f"{where}: id '{identifier}' can't name a folder: Windows keeps it for a device")
        if len(identifier.encode()) > LONGEST_ID:
            raise InputError(f"{where}: id '{identifier[:40]}...' can't name a folder: over {LONGEST_ID} characters")
        folded = _folded(identifier)
        if folded in taken:
            raise InputError(f"{where}: id '{identifier}' is the name of another output; choose another id")
        if seen.get(folded) == identifier:
            raise InputError(f"{name}: id '{identifier}' stands in more than one row; ids name the output folders")
        if folded in seen:
            raise InputError(f"{name}: ids '{seen[folded]}' and '{identifier}' are one folder on some systems")
        seen[folded] = identifier


def _folded(identifier: str) -> str:
    """As a system compares names that takes no notice of case and forms of letters."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", identifier).casefold())


def derived_id(moving: str | Path, fixed: str | Path) -> str:
    """``<moving>_to_<fixed>``, shortened by a hash where that is too long for a folder."""
    name = "_to_".join(full_stem(file) for file in (moving, fixed))
    if len(name.encode()) <= LONGEST_ID - 40:
        return name
    short = name.encode()[: LONGEST_ID - 60].decode(errors="ignore").rstrip(". ")
    return f"{short}_{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def read_pairs(path: str | Path) -> list[Pair]:
    """Pairs of a table (CSV, also with ; or tab, or Excel or Parquet), paths relative to the table's folder.

    Two forms: ``id, moving, fixed`` with the optional columns of ``Pair`` (``pairs.reading.COLUMNS`` and
    ``point_space`` among them), or the ANHIR / BIRL cover table
    (``Target image, Source image, ...``), whose first column is the id.

    Raises:
        InputError: no such file, no table, a missing column, an empty cell, no rows, a value that its column can't
            have, or ids that are duplicate or can't name a folder.
    """
    file = Path(path)
    table = read_cells(file, "pair table")
    if "Source image" in table.columns:
        table = table.rename(columns=COVER_TABLE)
        table = table.rename(columns={table.columns[0]: "id"})
    missing = [c for c in ("id", "moving", "fixed") if c not in table.columns]
    if missing:
        raise InputError(
            f"pair table {file} has no column '{missing[0]}'; it has {', '.join(map(str, table.columns))}. "
            "Needed are id, moving, fixed (or the ANHIR cover table's columns)"
        )
    if table.empty:
        raise InputError(f"pair table {file} has no rows")
    numbers = [int(place) + 2 for place in table.index]
    check_ids(list(table["id"]), file.name, rows=numbers)
    pairs = []
    for number, row in zip(numbers, table.to_dict("records"), strict=True):
        source = f"{file.name} row {number}"
        for column in ("moving", "fixed"):
            if not row[column]:
                raise InputError(f"{source}: column '{column}' is empty")
        paths: dict[str, Any] = {c: file.parent / row[c] for c in ("moving", "fixed", *OPTIONAL) if row.get(c)}
        known = ("id", "moving", "fixed", *OPTIONAL, *COLUMNS, SPACE)
        extra = {str(c): v for c, v in row.items() if c not in known}
        try:
            readings = _readings({column: row.get(column) for column in COLUMNS})
            space = check_space(row.get(SPACE))
        except InputError as error:
            raise InputError(f"{source}: {error}") from error
        pairs.append(Pair(id=row["id"], **paths, **readings, extra=extra, source=source, point_space=space))
    return pairs


def select_pairs(
    pairs: str | Path | None = None,
    moving: str | Path | None = None,
    fixed: str | Path | None = None,
    *,
    id: str | None = None,
    status: str | None = None,
    dataset_dir: str | Path | None = None,
    point_space: str | None = None,
    **optional: Any,
) -> list[Pair]:
    """What the command line asked for: a table, or one pair.

    Args:
        pairs: a pair table.
        moving: instead, the moving image of one pair.
        fixed: and its fixed image.
        id: name of the single pair; default ``<moving>_to_<fixed>``.
        status: of a table, only the rows whose column ``status`` has this value.
        dataset_dir: folder that relative paths of these arguments start from; the current one if None.
        point_space: see ``Pair``; of a table for the rows that leave it open.
        optional: ``moving_landmarks`` and the like of the single pair, and ``moving_channel`` and the other names of
            ``pairs.reading.COLUMNS``; these also hold for the rows of a table that leave them open.

    Raises:
        InputError: both forms, half a pair or neither are given, or an unknown space.
    """
    start, space = Path(dataset_dir or "."), check_space(point_space)
    if pairs is not None:
        if moving is not None or fixed is not None:
            raise InputError("give either --pairs or --moving and --fixed, not both")
        found = read_pairs(start / pairs)
        chosen = [p for p in found if status is None or p.extra.get("status") == status]
        if not chosen:
            raise InputError(f"pair table {pairs} has no row with status '{status}'")
        wide = _readings(optional)
        return [replace(_with_readings(pair, wide), point_space=pair.point_space or space) for pair in chosen]
    if moving is None or fixed is None:
        raise InputError("give --moving IMAGE and --fixed IMAGE, or --pairs TABLE.csv")
    unknown = sorted(set(optional) - {*OPTIONAL, *COLUMNS})
    if unknown:
        raise InputError(f"unknown argument '{unknown[0]}'; a pair has {', '.join((*OPTIONAL, *COLUMNS))}")
    name = str(id) if id is not None and id != "" else derived_id(moving, fixed)
    check_ids([name], "command line")
    files: dict[str, Any] = {key: start / optional[key] for key in OPTIONAL if optional.get(key) is not None}
    return [Pair(name, start / moving, start / fixed, **files, **_readings(optional), point_space=space)]


def _readings(given: Mapping[str, Any]) -> dict[str, Any]:
    """``moving_reading`` and ``fixed_reading`` from values by the names of ``COLUMNS``."""
    if not any(given.get(column) not in (None, "") for column in COLUMNS):
        return {"moving_reading": AS_STORED, "fixed_reading": AS_STORED}
    return {
        f"{side}_reading": Reading.of(**{name: given.get(f"{side}_{name}") for name in NAMES})
        for side in ("moving", "fixed")
    }


def _with_readings(pair: Pair, wide: Mapping[str, Reading]) -> Pair:
    """The pair of a table with what its row leaves open as the command line has it."""

    def filled(own: Reading, other: Reading) -> Reading:
        return Reading(*(b if a is None else a for a, b in zip(astuple(own), astuple(other), strict=True)))

    if all(reading == AS_STORED for reading in wide.values()):
        return pair
    return replace(
        pair, moving_reading=filled(pair.moving_reading, wide["moving_reading"]),
        fixed_reading=filled(pair.fixed_reading, wide["fixed_reading"]),
    )  # fmt: skip
