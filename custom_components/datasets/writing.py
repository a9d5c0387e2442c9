"""What all sets become: a folder of images, one of label maps, and a pair table."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from custom_components.common.arrays import Array, Matrix
from custom_components.common.errors import InputError
from custom_components.pairs import atomic_path, write_image
from custom_components.pairs.marking import check_set_folder, is_marked, mark_set

MAKER = "image_sets"


@dataclass(frozen=True)
class Item:
    """One image of a set.

    Attributes:
        name: of its files.
        image: (1, *spatial).
        labels: (1, *spatial) uint8, classes from 0 on, or None.
        status: "training", "validation" or "evaluation".
        matrix: index_to_physical, stored with volumes.
    """

    name: str
    image: Array
    labels: Array | None
    status: str
    matrix: Matrix | None = None


def neighbours(names: Sequence[str], reach: int) -> list[tuple[str, str]]:
    """(moving, fixed) of all pairs at most ``reach`` apart in the sequence, both ways round; 0 is the next one only."""
    if reach == 0:
        return list(itertools.pairwise(names))
    near = [(i, j) for i in range(len(names)) for j in range(len(names)) if 0 < abs(i - j) <= reach]
    return [(names[i], names[j]) for i, j in near]


def ordered_pairs(names: Sequence[str]) -> list[tuple[str, str]]:
    """All pairs of different images, both ways round."""
    return [(first, second) for first in names for second in names if first != second]


def write_set(
    items: Iterable[Item], to: str | Path, pairs_of: Callable[[Sequence[str], str], list[tuple[str, str]]]
) -> str:
    """Write images and label maps, then ``pairs.csv``, the last of all so that it names only what is there.

    Args:
        items: one after the other, so that a set need not fit into memory.
        to: folder, made if absent.
        pairs_of: (names in order, status) -> (moving, fixed) names; pairs never cross a status.

    Returns:
        How many pairs there are of each status.

    Raises:
        InputError: there are no items, or the folder holds files of these names that no image set has made.
    """
    folder = Path(to)
    check_set_folder(folder, ("images", "labels", "pairs.csv"), MAKER)
    names: dict[str, list[str]] = {}
    files: dict[str, tuple[str, str]] = {}
    for item in items:
        mark_set(folder, MAKER)
        suffix = ".nii.gz" if item.image.ndim == 4 else ".tif"
        found = []
        for kind, array in (("images", item.image), ("labels", item.labels)):
            (folder / kind).mkdir(parents=True, exist_ok=True)
            path = f"{kind}/{item.name}{suffix}" if array is not None else ""
            if array is not None:
                write_image(folder / path, array, item.matrix)
            found.append(path)
        names.setdefault(item.status, []).append(item.name)
        files[item.name] = (found[0], found[1])
    if not files:
        raise InputError(f"no images were found for {folder}")
    rows = [
        {
            "id": f"{moving}_to_{fixed}",
            "moving": files[moving][0], "fixed": files[fixed][0],
            "moving_labels": files[moving][1], "fixed_labels": files[fixed][1],
            "status": status,
        }
        for status, group in names.items()
        for moving, fixed in pairs_of(group, status)
    ]  # fmt: skip
    return write_table(rows, folder / "pairs.csv")


def write_table(rows: Sequence[Mapping[str, str]], to: str | Path) -> str:
    """Write a pair table whole or not at all.

    Returns:
        How many pairs there are of each status.

    Raises:
        InputError: there are no rows, or ``to`` is a file that no image set has made.
    """
    if not rows:
        raise InputError(f"{to}: there are no pairs to write")
    folder, maker = Path(to).parent, f"{MAKER} {Path(to).name}"
    if not is_marked(folder, MAKER):
        check_set_folder(folder, (Path(to).name,), maker)
        mark_set(folder, maker)
    with atomic_path(Path(to)) as temporary:
        pd.DataFrame(rows).to_csv(temporary, index=False)
    counts = pd.Series([row["status"] for row in rows]).value_counts(sort=False)
    return f"{to}: " + ", ".join(f"{count} {status} pairs" for status, count in counts.items())


def required(path: Path) -> Path:
    """The file itself.

    Raises:
        InputError: it is missing.
    """
    if not path.is_file():
        raise InputError(f"{path} does not exist; is the source the folder that the download unpacks to?")
    return path
