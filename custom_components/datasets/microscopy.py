"""Microscopy in sequence: neighbouring slices or frames are the pairs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import tifffile

from custom_components.common.errors import InputError
from custom_components.datasets.writing import Item, neighbours, required, write_set
from custom_components.pairs import read_image

REACH = 2  # a training pair is at most so many slices or frames apart, as in DeepSim
Labels = npt.NDArray[np.uint8]


def _pairs(names: Sequence[str], status: str) -> list[tuple[str, str]]:
    return neighbours(names, REACH if status == "training" else 0)


def membrane(source: str, to: str) -> str:
    """ISBI 2012 membranes: ``images/NN.png`` and ``labels/NN.png`` (0 membrane, 255 interior), 30 slices.

    Membrane becomes class 1, interior 2. Slices 0 to 17 train, 18 to 21 validate, 22 to 29 evaluate.

    Args:
        source: the folder of both.
        to: see ``write_set``.
    """

    def items() -> Iterator[Item]:
        for number in range(30):
            name = f"{number:02d}"
            image, labels = (
                read_image(required(Path(source) / k / f"{name}.png")).numpy() for k in ("images", "labels")
            )
            status = "training" if number < 18 else "validation" if number < 22 else "evaluation"
            yield Item(name, image[:1], 1 + (labels[:1] > 127).astype(np.uint8), status)

    return write_set(items(), to, _pairs)


def phc_u373(source: str, to: str) -> str:
    """PhC-C2DH-U373 of the Cell Tracking Challenge: ``01/tNNN.tif``, ``01_ST/SEG/man_segNNN.tif``, and ``02``.

    Download: http://celltrackingchallenge.net, training data PhC-C2DH-U373; unpack it and give the folder with ``01``
    and ``02``. Columns 4 to 692 and rows 4 to 516 are kept; all cells are one class. Sequence 01 trains, frames 0 to 49
    of 02 validate, 60 to 114 evaluate, the ten between them belong to neither (Czolbe et al., "DeepSim").

    Args:
        source: the folder with ``01``, ``01_ST``, ``02`` and ``02_ST``.
        to: see ``write_set``.
    """

    def items() -> Iterator[Item]:
        for sequence in ("01", "02"):
            frames = sorted((Path(source) / sequence).glob("t*.tif"))
            if not frames:
                raise InputError(f"{Path(source) / sequence} has no frames t000.tif, t001.tif, ...")
            for frame in frames:
                number = int(frame.stem[1:])
                if sequence == "02" and 50 <= number < 60:
                    continue
                file = required(Path(source) / f"{sequence}_ST" / "SEG" / f"man_seg{frame.stem[1:]}.tif")
                image, labels = (tifffile.imread(path)[4:516, 4:692] for path in (frame, file))
                status = "training" if sequence == "01" else "validation" if number < 50 else "evaluation"
                yield Item(f"{sequence}_{frame.stem[1:]}", image[None], (labels[None] > 0).astype(np.uint8), status)

    return write_set(items(), to, _pairs)


def platelet_em(source: str, to: str) -> str:
    """Platelet-EM: ``50-images.tif`` and ``24-images.tif``, stacks of 800x800, with ``50-semantic.tif`` and ``24-...``.

    Download: https://leapmanlab.github.io/dense-cell. Labels above 1 (what is inside a cell) become 2. The stack of 50
    trains, slices 0 to 11 of the other validate, 12 to 23 evaluate (Czolbe et al., "DeepSim").

    Args:
        source: the folder of the four files.
        to: see ``write_set``.
    """

    def items() -> Iterator[Item]:
        for count in ("50", "24"):
            images, labels = (
                tifffile.imread(required(Path(source) / f"{count}-{kind}.tif")) for kind in ("images", "semantic")
            )
            if images.ndim != 3 or images.shape != labels.shape:
                raise InputError(
                    f"{source}: {count}-images.tif and {count}-semantic.tif are two stacks of one size, got "
                    f"{images.shape} and {labels.shape}"
                )
            for number, (image, classes) in enumerate(zip(images, labels, strict=True)):
                status = "training" if count == "50" else "validation" if number < 12 else "evaluation"
                yield Item(f"{count}_{number:02d}", image[None], classes[None].clip(0, 2).astype(np.uint8), status)

    return write_set(items(), to, _pairs)
