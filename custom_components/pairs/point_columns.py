"""Which columns of a table are coordinates, in the words of the programs that write them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from custom_components.common.errors import InputError

# "x", "X (px)", "Centroid Y µm"; QuPath writes the last ones, with the micro sign
NAME = re.compile(r"(?P<centroid>centroid )?(?P<axis>[xy])(?:[ _]?[(\[]?(?P<unit>µm|um|microns?|px|pixels?)[)\]]?)?")
MICROMETRES = ("µm", "um", "micron", "microns")
# names that say nothing of a unit: (program, axis); row and column are y and x
PROGRAMS = {
    "axis-0": ("napari", "y"), "axis-1": ("napari", "x"),
    "x_centroid": ("Xenium", "x"), "y_centroid": ("Xenium", "y"),
    "x_location": ("Xenium transcripts", "x"), "y_location": ("Xenium transcripts", "y"),
    "pxl_row_in_fullres": ("Visium", "y"), "pxl_col_in_fullres": ("Visium", "x"),
    "centroid-0": ("scikit-image", "y"), "centroid-1": ("scikit-image", "x"),
}  # fmt: skip
OF_PROGRAM = {"Xenium": "micrometre", "Xenium transcripts": "micrometre"}  # of others pixels, or what the user says
# what ImageJ measures beside X and Y, in the names of its tables of results
IMAGEJ = {"area", "mean", "stddev", "mode", "min", "max", "xm", "ym", "perim.", "bx", "by", "intden", "rawintden",
          "slice", "ch", "frame", "circ.", "feret", "major", "minor", "angle", "median", "%area"}  # fmt: skip
BIGWARP = ("name", "active", "moving x", "moving y", "fixed x", "fixed y")
VISIUM = ("barcode", "in_tissue", "array_row", "array_col", "pxl_row_in_fullres", "pxl_col_in_fullres")
BARCODE = re.compile(r"[ACGTN]{4,}(-\d+)?")
NUMBER = re.compile(r"[+-]?(\d+([.,]\d*)?|[.,]\d+)([eE][+-]?\d+)?|[+-]?(inf(inity)?|nan)", re.IGNORECASE)


@dataclass(frozen=True)
class Columns:
    """Where the points are.

    Attributes:
        header: names of all columns, made up where the file has none.
        x: place of x; that of the geometry in GeoParquet.
        y: place of y; likewise.
        unit: "pixel" or "micrometre" where it is known, else None.
        stated: the columns' names say the unit, rather than the program's custom.
        centroid: QuPath's, whose (0, 0) is the outer corner of the first pixel.
        program: that writes such columns; "" for X, Y and the like.
        headed: the file's first row is its header.
    """

    header: tuple[str, ...]
    x: int
    y: int
    unit: str | None = None
    stated: bool = False
    centroid: bool = False
    program: str = ""
    headed: bool = True


def find_columns(file: Path, header: Sequence[str], side: str = "moving") -> Columns:
    """The columns that hold the points. Of several pairs X and Y without a unit come first, then the leftmost.

    Args:
        file: for messages.
        header: its first row.
        side: "moving" or "fixed", whose points are taken of BigWarp's landmarks, which have both.

    Raises:
        InputError: there are none, or they are of volumes.
    """
    names = tuple(header)
    bare = _headerless(file, names, side)
    if bare is not None:
        return bare
    found: dict[Columns, dict[str, int]] = {}
    for place, name in enumerate(names):
        known = _kind(name)
        if known is not None:
            found.setdefault(known[0], {}).setdefault(known[1], place)
    whole = {kind: axes for kind, axes in found.items() if len(axes) == 2}
    if not whole:
        bare_numbers = len(names) > 1 and all(NUMBER.fullmatch(name.strip()) for name in names)
        way_out = (
            "its first row are numbers: write the names of the columns above them, such as X and Y"
            if bare_numbers
            else "QuPath's Centroid X px and Centroid Y px do as well, and the columns of ImageJ, napari, Xenium and "
            "Visium; see docs/annotations.md"
        )
        raise InputError(f"landmarks {file} need columns X and Y, found {', '.join(names)} ({way_out})")
    plain = Columns((), 0, 0)
    kind = plain if plain in whole else min(whole, key=lambda kind: min(whole[kind].values()))
    if kind.program == "napari" and any(_plain(name) == "axis-2" for name in names):
        raise InputError(f"landmarks {file} are napari's points of volumes (axis-2); save a layer with two axes")
    program = kind.program or ("ImageJ" if kind == plain and _is_imagej(names) else "")
    return replace(kind, header=names, x=whole[kind]["x"], y=whole[kind]["y"], program=program)


def _plain(name: str) -> str:
    # the second is the micro sign of UTF-8 that was read as Windows-1252
    return " ".join(name.lower().replace("μ", "µ").replace("âµ", "µ").split())


def _kind(name: str) -> tuple[Columns, str] | None:
    """(what such a column is, its axis); None for one that is no coordinate."""
    plain = _plain(name)
    if plain in PROGRAMS:
        program, axis = PROGRAMS[plain]
        return Columns((), 0, 0, OF_PROGRAM.get(program), program=program), axis
    match = NAME.fullmatch(plain)
    if match is None:
        return None
    word = match["unit"]
    unit = None if word is None else "micrometre" if word in MICROMETRES else "pixel"
    return Columns((), 0, 0, unit, unit is not None, match["centroid"] is not None), match["axis"]


def _is_imagej(names: tuple[str, ...]) -> bool:
    """Whether it is ImageJ's table of results, whose first column is called " "."""
    return names[0] == " " or (names[0] == "" and any(_plain(name) in IMAGEJ for name in names[1:]))


def _headerless(file: Path, names: tuple[str, ...], side: str) -> Columns | None:
    """Of the files that have no header: BigWarp's landmarks and the first form of Visium's spots."""
    cells = [name.strip() for name in names]
    if len(cells) in (6, 8) and cells[1].lower() in ("true", "false") and all(map(NUMBER.fullmatch, cells[2:])):
        if len(cells) == 8:
            raise InputError(f"landmarks {file} are BigWarp's of volumes; tables of points are of sections")
        first = 4 if side == "fixed" else 2
        return Columns(BIGWARP, first, first + 1, program="BigWarp", headed=False)
    if len(cells) == 6 and BARCODE.fullmatch(cells[0]) and all(map(str.isdigit, cells[1:])):
        return Columns(VISIUM, 5, 4, program="Visium", headed=False)
    return None
