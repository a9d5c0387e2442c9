"""The field of a section as a 3-D transform, the only kind that 3D Slicer opens.

    python -m custom_components.commands.slicer out/IHC_to_HE

writes ``slicer_transform.h5`` beside the field: ``transform.h5``, fixed -> moving in the coordinates in which 3D Slicer
opens the pair's own files, with nothing moved along z.
"""

from __future__ import annotations

import sys
from typing import Any

import fire
import numpy as np

from custom_components.common.errors import InputError
from custom_components.common.stopping import stopped_by_signals
from custom_components.fields import image_matrix, image_vectors, read_transform, vector_image, write_transform
from custom_components.pairs import atomic_path
from custom_components.results.folder import ResultFolder

SLICES = 3  # at z -1, 0 and 1, so that a section at 0 lies inside and not on the border


def slab(image: Any) -> Any:
    """A 2-D displacement image as a 3-D one, constant along z with z components 0.

    Args:
        image: 2-D, components x, y.
    """
    flat = image_vectors(image)
    vectors = np.zeros((SLICES, *flat.shape[:2], 3), np.float32)
    vectors[..., :2] = flat
    matrix, plane = np.eye(4), image_matrix(image)  # array axes slice, row, col to x, y, z
    matrix[:2, 1:3], matrix[:2, 3] = plane[:2, :2], plane[:2, 2]
    matrix[2] = [1, 0, 0, -1]
    matrix[:2, 0] = 0
    return vector_image(vectors, matrix)


def export_scene(folder: str) -> str:
    """Write ``slicer_transform.h5`` into the folder of a result of two sections and return its path.

    Args:
        folder: of one pair, such as out/IHC_to_HE.

    Raises:
        InputError: it is no result, the pair failed, or it is one of volumes.
    """
    stored = ResultFolder(str(folder))
    if stored.dimensions != 2:
        raise InputError(f"{stored.folder} is a registration of volumes; its transform.h5 is a 3-D transform already")
    target = stored.folder / "slicer_transform.h5"
    transform = read_transform(stored.folder / "transform.h5")
    if transform.GetDimension() != 2:  # of sections that are stored as volumes of one slice
        raise InputError(f"{stored.folder / 'transform.h5'} is a 3-D transform already; give it to 3D Slicer as it is")
    with atomic_path(target) as partial:
        write_transform(partial, slab(transform.GetDisplacementField()))
    return str(target)


def main() -> None:
    """Command line; a wrong folder gives one line and exit code 1."""
    try:
        with stopped_by_signals():
            fire.Fire(export_scene)
    except InputError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
