"""Other ways of warping a slide by a field, for benchmarks.whole_slides; one a process, so that memory is its own.

python -m benchmarks.slide_engines ENGINE DISPLACEMENT SLIDE OUTPUT
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

SIDE = 1024  # pixels of a block
QUALITY = 89  # from 90 on libvips keeps all of the colour, in files of more than twice the size; the product does not


def copy(field: str, slide: str, output: str) -> None:
    """The slide decoded and written again by libvips: what reading and writing alone take."""
    import pyvips

    _saved(pyvips.Image.new_from_file(slide, access="sequential"), output)


def mapim(field: str, slide: str, output: str) -> None:
    """Libvips' ``mapim`` on a field that it enlarges itself, streamed."""
    import pyvips

    from custom_components.fields import image_matrix, read_displacement

    image = pyvips.Image.new_from_file(slide)
    displacement = read_displacement(field)
    matrix = image_matrix(displacement)
    vectors = _vectors(displacement)
    pixel = 1e3 / image.xres  # micrometres; libvips counts pixels a millimetre
    # x, y of each target pixel, then the displacement there, linear between the field's voxels
    small = pyvips.Image.new_from_memory((vectors / pixel).astype("f").tobytes(), *vectors.shape[1::-1], 2, "float")
    spacing, origin = matrix[0, 1] / pixel, matrix[0, 2] / pixel
    large = small.affine(
        [spacing, 0, 0, spacing], interpolate=pyvips.Interpolate.new("bilinear"), extend="copy",
        oarea=[0, 0, image.width, image.height], odx=origin, ody=origin,
    )  # fmt: skip
    index = pyvips.Image.xyz(image.width, image.height) + large
    _saved(image.mapim(index, interpolate=pyvips.Interpolate.new("bilinear"), background=[240]), output)


def itk_blocks(field: str, slide: str, output: str) -> None:
    """ITK's resampling, block by block, into the writer of the product."""
    from custom_components.fields import index_to_physical, read_displacement, resample
    from custom_components.fields.blocks import FieldBlocks
    from custom_components.pairs import open_slide
    from custom_components.slides.pyramid import PyramidWriter

    with open_slide(slide) as source:
        matrix = index_to_physical((source.pixel_size or (1.0, 1.0))[::-1])
        displacement = read_displacement(field)
        blocks = FieldBlocks(displacement, matrix, matrix)
        writer = PyramidWriter(output, source.levels[0], 3, np.uint8, "jpeg", pixel_size=source.pixel_size)
        for row, column in writer.missing():
            height, width = (min(SIDE, n - k) for n, k in zip(source.levels[0], (row, column), strict=True))
            needed = blocks(row, column, height, width)
            start = [max(k, 0) for k in needed.origin]
            stop = [min(k + n, whole) for k, n, whole in zip(needed.origin, needed.size, source.levels[0], strict=True)]
            part = source.read(0, *start, stop[0] - start[0], stop[1] - start[1])
            there, here = (matrix @ _moved(place) for place in (start, (row, column)))
            warped = resample(np.moveaxis(part, -1, 0), there, displacement, (height, width), here, 1, 240.0)
            writer.put(row, column, np.moveaxis(warped, 0, -1))
        writer.finish()


def _moved(place: Any) -> Any:
    matrix = np.eye(3)
    matrix[:2, 2] = place
    return matrix


def _vectors(displacement: Any) -> Any:
    import itk

    return np.asarray(itk.array_from_image(displacement))


def _saved(image: Any, output: str) -> None:
    image.tiffsave(
        output, tile=True, tile_width=512, tile_height=512, pyramid=True, subifd=True, compression="jpeg", Q=QUALITY,
        bigtiff=True,
    )  # fmt: skip


ENGINES: dict[str, Callable[[str, str, str], None]] = {"copy": copy, "mapim": mapim, "itk": itk_blocks}

if __name__ == "__main__":
    Path(sys.argv[4]).parent.mkdir(parents=True, exist_ok=True)
    ENGINES[sys.argv[1]](*sys.argv[2:])
