"""Brains: real slabs, volumes synthesised from label maps, a real pair of OASIS, and DeepSim's Brain-MRI layout."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import ndimage

from custom_components.common.arrays import Array, Matrix
from custom_components.common.errors import InputError
from custom_components.datasets.synthesis import TISSUES, merged, synthesised
from custom_components.datasets.writing import Item, ordered_pairs, required, write_set, write_table
from custom_components.fields.geometry import apply_matrix

FIELD = (160.0, 192.0, 160.0)  # mm that the grid of a whole brain holds, (slice, row, col)
UPRIGHT = 7  # of SynthSeg's subjects, the one that the others are aligned to
ANATOMY = tuple(value for values, _ in TISSUES.values() for value in values)
LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


def canonical(file: Path) -> tuple[Array, Matrix]:
    """A volume with its axes to superior, anterior and right: (slice, row, col), and its index_to_physical.

    Raises:
        InputError: the file is missing.
    """
    image: Any = nibabel.as_closest_canonical(nibabel.load(required(file)))
    matrix = LPS @ image.affine
    return np.asarray(image.dataobj).transpose(2, 1, 0), matrix[:, [2, 1, 0, 3]]


def centred_grid(spacing: float) -> tuple[Matrix, tuple[int, ...]]:
    """index_to_physical and shape of an isotropic grid of ``FIELD`` about the origin, axes as in ``canonical``."""
    shape = tuple(round(side / spacing) for side in FIELD)
    matrix = LPS[:, [2, 1, 0, 3]] * [spacing, spacing, spacing, 1.0]
    matrix[:-1, -1] = -apply_matrix(matrix, np.array([[(side - 1) / 2 for side in shape]]))[0]
    return matrix, shape


def resampled(array: Array, to_array: Matrix, shape: tuple[int, ...], order: int) -> Array:
    """``array`` on another grid; what lies outside is 0.

    Args:
        array: (*spatial).
        to_array: indices of the other grid -> indices of the array.
        shape: of the other grid.
        order: 0, the nearest voxel, or 1, linear after a blur that keeps a coarser grid free of aliasing.
    """
    if order:
        factors = np.linalg.norm(to_array[:-1, :-1], axis=1)
        array = ndimage.gaussian_filter(array, np.maximum(factors - 1, 0) / 2)
    return np.asarray(ndimage.affine_transform(array, to_array[:-1, :-1], to_array[:-1, -1], shape, order=order))


def _centroids(labels: Array, grid: Matrix) -> dict[int, Matrix]:
    """Physical centre of every FreeSurfer label of the brain."""
    values = [value for value in ANATOMY if (labels == value).any()]
    centres = apply_matrix(grid, np.array(ndimage.center_of_mass(labels > 0, labels, values)))
    return dict(zip(values, centres, strict=True))


def rigid_between(first: dict[int, Matrix], second: dict[int, Matrix]) -> Matrix:
    """The (4, 4) rotation and shift that takes the first centroids onto the second, with least squares (Kabsch)."""
    shared = sorted(first.keys() & second.keys())
    a, b = (np.array([centroids[value] for value in shared]) for centroids in (first, second))
    u, _, vt = np.linalg.svd((a - a.mean(0)).T @ (b - b.mean(0)))
    turn = vt.T @ np.diag([1, 1, np.linalg.det(vt.T @ u.T)]) @ u.T
    result = np.eye(4)
    result[:-1] = np.column_stack([turn, b.mean(0) - turn @ a.mean(0)])
    return result


def _box(mask: npt.NDArray[np.bool_], grid: Matrix) -> Matrix:
    """(4, 4), the unit box about the origin -> a mask: its centre, and its standard deviations along the axes."""
    points = apply_matrix(grid, np.argwhere(mask).astype(np.float64))
    result = np.diag([*points.std(axis=0), 1.0])
    result[:-1, -1] = points.mean(axis=0)
    return result


def _all_with_all(names: Sequence[str], status: str) -> list[tuple[str, str]]:
    return ordered_pairs(names)


def brain_slabs(source: str, to: str, axial: int | None = None) -> str:
    """16 real T1 slabs of 18 axial slices, from ANTs' tutorial of joint label fusion: ``ilistN.nii.gz``, ``slistN...``.

    Classes: 1 ventricles, 2 cortex, 3 white matter, 4 deep grey matter. Black further than 3 voxels from them, so that
    the skull drives nothing. Subjects 1 to 10 train, 11 and 12 validate, 13 to 16 evaluate; each is paired with all
    others of its status.

    Args:
        source: the folder of both.
        to: see ``write_set``.
        axial: keep this slice alone, from 0 on, as an image; None keeps the slab.

    Raises:
        InputError: there is no such slice; see ``write_set``.
    """

    def items() -> Iterator[Item]:
        for number in range(1, 17):
            (image, grid), (labels, _) = (canonical(Path(source) / f"{kind}list{number}.nii.gz") for kind in "is")
            image = image * ndimage.binary_dilation(labels > 0, iterations=3)
            status = "training" if number < 11 else "validation" if number < 13 else "evaluation"
            name, classes = f"{number:02d}", labels.round().astype(np.uint8)
            if axial is None:
                yield Item(name, image[None], classes[None], status, grid)
                continue
            if not 0 <= axial < len(image):
                raise InputError(f"axial is 0 to {len(image) - 1}, got {axial}")
            yield Item(name, image[None, axial, ::-1], classes[None, axial, ::-1], status)  # the front of the head up

    return write_set(items(), to, _all_with_all)


def brain_labels(source: str, to: str, spacing: float = 2.5, contrast: str = "t1") -> str:
    """Volumes synthesised from SynthSeg's whole-head label maps of 12 subjects, ``seg_NN.nii.gz``.

    Brains are turned by the centres of their labels and scaled to one extent; see ``synthesis`` for images and classes.
    Subjects 1 to 8 train, 9 and 10 validate, 11 and 12 evaluate. Those train in all pairs; of the others each is
    registered to the other and to the eight.

    Args:
        source: the folder of the label maps.
        to: see ``write_set``.
        spacing: mm a voxel.
        contrast: see ``synthesised``.
    """
    target, shape = centred_grid(spacing)
    files = {number: Path(source) / f"seg_{number:02d}.nii.gz" for number in range(1, 13)}
    upright, upright_grid = canonical(files[UPRIGHT])
    places = _centroids(upright, upright_grid)
    box = _box(merged(upright) > 0, upright_grid)
    middle = np.eye(4)
    middle[:-1, -1] = box[:-1, -1]

    def items() -> Iterator[Item]:
        for number, file in files.items():
            labels, grid = canonical(file)
            classes = merged(labels)
            turned = rigid_between(_centroids(labels, grid), places) @ grid
            placed = _box(classes > 0, turned) @ np.linalg.inv(box) @ middle @ target
            to_subject = np.linalg.inv(turned) @ placed
            image = resampled(synthesised(classes, number, contrast), to_subject, shape, order=1)
            classes = resampled(classes, to_subject, shape, order=0)
            status = "training" if number < 9 else "validation" if number < 11 else "evaluation"
            yield Item(f"{number:02d}", image[None], classes[None], status, target)

    training = [f"{number:02d}" for number in range(1, 9)]

    def pairs(names: Sequence[str], status: str) -> list[tuple[str, str]]:
        across = [] if status == "training" else [(name, other) for name in names for other in training]
        return ordered_pairs(names) + across

    return write_set(items(), to, pairs)


def brain_oasis(source: str, to: str, spacing: float = 2.5) -> str:
    """The real pair of OASIS-1 that LapIRN carries: ``image_A_160x192x144.nii.gz``, ``..._seg.nii.gz``, and B's.

    Classes: 1 other tissue, 2 white matter. Both ways round, status "evaluation".

    Args:
        source: the folder of the four files.
        to: see ``write_set``.
        spacing: mm a voxel.
    """
    target, shape = centred_grid(spacing)

    def items() -> Iterator[Item]:
        for name in "AB":
            (image, grid), (labels, _) = (
                canonical(Path(source) / f"image_{name}_160x192x144{kind}.nii.gz") for kind in ("", "_seg")
            )
            grid = grid.copy()  # the label maps' own headers differ, although voxel lies on voxel
            grid[:-1, -1] -= apply_matrix(grid, np.array([[(side - 1) / 2 for side in image.shape]]))[0]
            to_array = np.linalg.inv(grid) @ target
            volume = resampled(image.astype(np.float32), to_array, shape, order=1)
            classes = resampled(labels.astype(np.uint8), to_array, shape, order=0)
            yield Item(name, volume[None], classes[None], "evaluation", target)

    return write_set(items(), to, _all_with_all)


def brain_mri(source: str, to: str) -> str:
    """The layout of DeepSim's Brain-MRI, a table of the files where they are: every subject onto the atlas.

    ``metadata.csv`` with columns ``subject_id`` and ``SPLIT`` (train, val, test), ``data/SUBJECT/brain_aligned.nii.gz``
    and ``seg_coalesced_aligned.nii.gz``, ``atlas/`` with the same two files. The images are those of ABIDE and OASIS-3
    after FreeSurfer, which can't be passed on.

    Args:
        source: the folder of ``metadata.csv``.
        to: the table to write, CSV.

    Raises:
        InputError: a file or a column is missing, or no subject has one of the three splits.
    """
    table = pd.read_csv(required(Path(source) / "metadata.csv"), dtype=str)
    missing = {"subject_id", "SPLIT"} - set(table.columns)
    if missing:
        raise InputError(f"{source}/metadata.csv has no column {sorted(missing)[0]}")
    statuses = {"train": "training", "val": "validation", "test": "evaluation"}

    def files(folder: Path, side: str) -> dict[str, str]:
        names = {side: "brain_aligned.nii.gz", f"{side}_labels": "seg_coalesced_aligned.nii.gz"}
        return {key: str(required(folder / name).resolve()) for key, name in names.items()}

    rows = [
        {"id": subject, **files(Path(source) / "data" / subject, "moving"), **files(Path(source) / "atlas", "fixed"),
         "status": statuses[split]}
        for subject, split in zip(table["subject_id"], table["SPLIT"], strict=True)
        if split in statuses
    ]  # fmt: skip
    return write_table(rows, to)
