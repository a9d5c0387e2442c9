"""The sections of a series and their order."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from custom_components.common.errors import InputError
from custom_components.pairs import Landmarks, Pair, full_stem, match_landmarks, read_landmarks
from custom_components.pairs.cells import read_cells
from custom_components.pairs.table import check_ids

ATTACHED = ("landmarks", "annotations", "labels")
PAIRS = "pairs"  # folder of the pair runs, beside those of the sections
RESERVED = (PAIRS, "series.json", "series.csv", "index.html", "stack.ome.tif")


@dataclass(frozen=True)
class Section:
    """One section of a series.

    Attributes:
        id: name of its output folder.
        image: the file.
        landmarks: CSV with X and Y; row i shows the same structure in all sections.
        annotations: GeoJSON.
        labels: label map of the image's size.
    """

    id: str
    image: Path
    landmarks: Path | None = None
    annotations: Path | None = None
    labels: Path | None = None


def read_sections(images: str | Path | Sequence[str | Path]) -> list[Section]:
    """The sections in order.

    Args:
        images: a CSV table with the column ``image`` and optionally ``id, landmarks, annotations, labels``, paths
            relative to it; or image files, as a list or divided by commas, whose names without suffix are the ids.

    Raises:
        InputError: no such table, no column ``image``, an empty cell, fewer than two sections, an image or landmark
            file that does not exist, duplicate ids or can't name a folder, or landmark files of different
            lengths.
    """
    if isinstance(images, str | Path) and str(images).lower().endswith(".csv"):
        source, sections = Path(images).name, _from_table(Path(images))
    else:
        files = str(images).split(",") if isinstance(images, str | Path) else [str(file) for file in images]
        source = "--images"
        paths = [Path(file.strip()) for file in files if file.strip()]
        sections = [Section(full_stem(path), path) for path in paths]
    if len(sections) < 2:
        raise InputError(f"a series needs two sections or more, {source} names {len(sections)}")
    _check(sections, source)
    return sections


def _from_table(file: Path) -> list[Section]:
    table = read_cells(file, "section table")
    if "image" not in table.columns:
        raise InputError(
            f"section table {file} has no column 'image'; it has {', '.join(map(str, table.columns))}. "
            f"Needed is image, possible are id, {', '.join(ATTACHED)}"
        )
    sections = []
    for number, row in zip((int(place) + 2 for place in table.index), table.to_dict("records"), strict=True):
        if not row["image"]:
            raise InputError(f"{file.name} row {number}: column 'image' is empty")
        image = file.parent / row["image"]
        files = {name: file.parent / row[name] for name in ATTACHED if row.get(name)}
        sections.append(Section(row.get("id") or full_stem(image), image, **files))
    return sections


def _check(sections: Sequence[Section], source: str) -> None:
    ids = [section.id for section in sections]
    if PAIRS in [identifier.casefold() for identifier in ids]:
        raise InputError(f"{source}: a section can't have the id '{PAIRS}', the folder of the pair runs has that name")
    check_ids(ids, source, RESERVED)
    pairs = [pair_id(*two) for two in itertools.permutations(sections, 2)]
    if len(set(pairs)) < len(pairs):
        raise InputError(f"{source}: two pairs of sections would have one name; choose ids without '_to_'")
    marks: list[Landmarks] = []
    for section in sections:
        for name in ("image", *ATTACHED):
            path = getattr(section, name)
            if path is not None and not path.is_file():
                where = path.parent.resolve()
                raise InputError(f"{source}: {name} '{path.name}' of {section.id} does not exist (looked in {where})")
        if section.landmarks is not None:
            marks.append(read_landmarks(section.landmarks))
    for first, second in itertools.combinations(marks, 2):
        match_landmarks(first, second)  # raises where they have nothing in common


def pair_id(moving: Section, fixed: Section) -> str:
    """Name of a pair's folder."""
    return f"{moving.id}_to_{fixed.id}"


def make_pair(moving: Section, fixed: Section, identifier: str) -> Pair:
    """One section onto another as the pair that all else in this package takes."""
    return Pair(
        identifier, moving.image, fixed.image, moving.landmarks, fixed.landmarks, moving.labels, fixed.labels,
        moving_annotations=moving.annotations,
    )  # fmt: skip
