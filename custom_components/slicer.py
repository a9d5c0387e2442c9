"""The field of a section as a 3-D transform, the only kind that 3D Slicer opens.

    python -m custom_components.slicer out/IHC_to_HE

writes ``slicer_transform.h5`` beside the field: ``transform.h5``, fixed -> moving in the coordinates in which 3D Slicer
opens the pair's own files, with nothing moved along z.
"""

from __future__ import annotations

import sys
from typing import Any

import fire
import itk
import numpy as np

from custom_components.errors import InputError
from custom_components.fields import read_transform, write_transform
from custom_components.pairs import atomic_path
from custom_components.results.folder import ResultFolder
from custom_components.stopping import stopped_by_signals

SLICES = 3  # at z -1, 0 and 1, so that a section at 0 lies inside and not on the border


def slab(image: Any) -> Any:
    """A 2-D displacement image as a 3-D one, constant along z with z components 0.

    Args:
        image: 2-D, components x, y.
    """
    flat = np.asarray(itk.array_from_image(image))
    vectors = np.zeros((SLICES, *flat.shape[:2], 3), np.float32)
    vectors[..., :2] = flat
    thick = itk.image_from_array(vectors, ttype=itk.Image[itk.Vector[itk.F, 3], 3])
    spacing, origin = tuple(image.GetSpacing()), tuple(image.GetOrigin())
    thick.SetSpacing([*map(float, spacing), 1.0])
    thick.SetOrigin([*map(float, origin), -1.0])
    direction = np.eye(3)
    direction[:2, :2] = itk.array_from_matrix(image.GetDirection())
    thick.SetDirection(itk.matrix_from_array(direction))
    return thick


def export(folder: str) -> str:
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
    if transform.GetInputSpaceDimension() != 2:  # of sections that are stored as volumes of one slice
        raise InputError(f"{stored.folder / 'transform.h5'} is a 3-D transform already; give it to 3D Slicer as it is")
    with atomic_path(target) as partial:
        write_transform(partial, slab(transform.GetDisplacementField()))
    return str(target)


def main() -> None:
    """Command line; a wrong folder gives one line and exit code 1."""
    try:
        with stopped_by_signals():
            fire.Fire(export)
    except InputError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
