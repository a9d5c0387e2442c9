"""Beating hearts: the two ends of a cycle are a pair."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from custom_components.common.arrays import Array
from custom_components.common.errors import InputError
from custom_components.datasets.writing import Item, required, write_set
from custom_components.pairs import read_image
from custom_components.pairs.images import MIN_SIDE

NAME = re.compile(r"(SC-.+)-IM-\d+-(\d+)(\.dcm)?\.png")
FRAMES = 20  # of a cycle; they are numbered from 1 on, through all slices
VALIDATING = ("SC-HF-I", "SC-HYP")  # a weak heart and a thick one


def _slices(names: Sequence[Path]) -> dict[tuple[str, int], list[Path]]:
    """The two files of every (patient, slice), without the slices that have one only."""
    found: dict[tuple[str, int], list[Path]] = {}
    for name in names:
        match = NAME.fullmatch(name.name)
        if match is None:
            raise InputError(f"{name} is not named as SC-HF-I-01-IM-0001-0080.dcm.png is")
        found.setdefault((match[1], (int(match[2]) - 1) // FRAMES), []).append(name)
    for (patient, number), files in found.items():
        if len(files) > 2:
            raise InputError(f"slice {number} of {patient} has {len(files)} frames, {files[0]} first; a pair is two")
    return {place: files for place, files in found.items() if len(files) == 2}


def _statuses(patients: Sequence[str]) -> dict[str, str]:
    """Of each group the last patient evaluates, of two groups the last but one validates, all others train."""
    groups: dict[str, list[str]] = {}
    for patient in sorted(set(patients)):
        groups.setdefault(patient.rpartition("-")[0], []).append(patient)
    result = dict.fromkeys(patients, "training")
    for group, members in groups.items():
        if group in VALIDATING and len(members) > 1:
            result[members[-2]] = "validation"
        result[members[-1]] = "evaluation"
    return result


def _picture(file: Path, size: tuple[int, ...]) -> Array:
    """(1, *size), as the pictures are grey but stored as RGB."""
    array = read_image(required(file)).numpy()[:1]
    if array.shape[1:] != size:
        raise InputError(f"{file} has shape {array.shape[1:]}, the first image {size}; all are of one size")
    return np.asarray(array)


def cardiac_sunnybrook(source: str, to: str, crop: int = 160) -> str:
    """Sunnybrook Cardiac Data as SegNetCMR carries it: ``Images/.../SC-GROUP-PATIENT-IM-SERIES-FRAME.dcm.png``.

    Its mask, 0 or 255, has the same name under ``Labels``; the cavity of the left ventricle becomes class 1. Download:
    https://github.com/mshunshin/SegNetCMR, Data/Train. Two frames of a slice are the ends of its cycle: end-diastole,
    the larger mask, is moving and end-systole fixed. A slice with one frame has no pair.

    Patients are sorted by name in their groups, HF-I, HF-NI, HYP and N: the last of each evaluates, the last but one
    of HF-I and of HYP validates, all others train. Of the 15 patients in Sunnybrook_Part1, 9 train (74 pairs), 2
    validate (18) and 4 evaluate (33).

    Args:
        source: the folder of ``Images`` and ``Labels``.
        to: see ``write_set``.
        crop: pixels a side that are kept, about the middle of the image.

    Raises:
        InputError: a file is missing, wrongly named or of another size, a slice has more than two frames, or the crop
            is larger than an image or cuts a mask.
    """
    folders = {kind: Path(source) / kind for kind in ("Images", "Labels")}
    names = sorted({file.relative_to(folder) for folder in folders.values() for file in folder.rglob("*.png")})
    if not names:
        raise InputError(f"{source} has no pictures under Images and Labels")
    first = required(folders["Images"] / names[0])
    size = tuple(read_image(first).shape[1:])
    if not MIN_SIDE <= crop <= min(size):
        raise InputError(f"crop is {MIN_SIDE} to {min(size)}, the size of {first}, got {crop}")
    slices = _slices(names)
    statuses = _statuses([patient for patient, _ in slices])

    row, col = ((side - crop) // 2 for side in size)
    middle = (slice(None), slice(row, row + crop), slice(col, col + crop))

    def frame(name: Path) -> tuple[Array, Array]:
        image, mask = (_picture(folder / name, size) for folder in folders.values())
        if mask.sum() > mask[middle].sum():
            raise InputError(f"a crop of {crop} cuts the mask {folders['Labels'] / name}; choose a larger one")
        return image[middle], (mask[middle] > 0).astype(np.uint8)

    def items() -> Iterator[Item]:
        for (patient, number), files in sorted(slices.items()):
            ends = sorted((frame(file) for file in files), key=lambda end: int(end[1].sum()), reverse=True)
            for phase, (image, mask) in zip(("ed", "es"), ends, strict=True):
                yield Item(f"{patient}_{number:02d}_{phase}", image, mask, statuses[patient])

    def pairs(names: Sequence[str], status: str) -> list[tuple[str, str]]:
        return list(zip(names[::2], names[1::2], strict=True))

    return write_set(items(), to, pairs)
