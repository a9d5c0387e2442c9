"""A pair table of one's own images."""

from __future__ import annotations

from pathlib import Path

from custom_components.common.errors import InputError
from custom_components.datasets.writing import neighbours, ordered_pairs, write_table
from custom_components.pairs.formats import MEDICAL, PICTURES, TIFF, full_stem, full_suffix


def folder(images: str, to: str, labels: str | None = None, reach: int | None = None, evaluation: float = 0.2) -> str:
    """Pairs of the images of a folder, in the order of their names.

    Args:
        images: the folder.
        to: the table to write, CSV.
        labels: folder of label maps with the names of their images, whatever their suffix.
        reach: images at most so many places apart are paired, as slices or frames are; None pairs all, as subjects are.
        evaluation: share of the images, the last ones, that are kept for the evaluation.

    Returns:
        How many pairs there are of each status.

    Raises:
        InputError: fewer than two images, or an image without a label map.
    """
    found = sorted(p for p in Path(images).glob("*") if full_suffix(p) in (*PICTURES, *TIFF, *MEDICAL))
    if len(found) < 2:
        raise InputError(f"{images} has {len(found)} images; two are needed for a pair")
    names = {full_stem(path): path for path in found}
    maps = {} if labels is None else {full_stem(p): p for p in Path(labels).glob("*")}
    missing = [name for name in names if labels is not None and name not in maps]
    if missing:
        raise InputError(f"{labels} has no label map for {missing[0]}; {len(missing)} of {len(names)} are missing")
    order = list(names)
    kept = round(evaluation * len(order))
    rows = []
    for status, group in (("training", order[: len(order) - kept]), ("evaluation", order[len(order) - kept :])):
        for moving, fixed in ordered_pairs(group) if reach is None else neighbours(group, reach):
            row = {"id": f"{moving}_to_{fixed}", "moving": names[moving], "fixed": names[fixed], "status": status}
            if labels is not None:
                row |= {"moving_labels": maps[moving], "fixed_labels": maps[fixed]}
            rows.append({key: str(v.resolve()) if isinstance(v, Path) else str(v) for key, v in row.items()})
    return write_table(rows, to)
