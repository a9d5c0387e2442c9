"""VALIS and DeeperHistReg warping a slide by a field, for benchmarks.whole_slides; one a process.

    OTHER_PYTHON -I benchmarks/rival_engines.py ENGINE FIELD SLIDE OUTPUT

Runs in a Python of their own, which has none of this project; docs/slides.md says how to make it. FIELD is what
``benchmarks.rivals`` writes: (2, rows, columns), x and y, from each place of the result to that of the slide, in
pixels of the slide.
"""

from __future__ import annotations

import os
import sys
import types
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

BACKGROUND = 240
QUALITY = 89  # from 90 on libvips keeps all of the colour, in files of more than twice the size; the product does not
VALIS_QUALITY = 90  # below, VALIS's files say RGB but hold YCbCr
TILE = 512


def deeperhistreg(field: str, slide: str, output: str) -> None:
    """``apply_deformation`` with its own TIFF loader and saver; it interpolates linearly, on black."""
    _stand_in_for_torchvision()
    import deeperhistreg as package
    from deeperhistreg.dhr_input_output.dhr_savers.displacement_saver import DisplacementFieldSaver

    vectors, scale = _vectors(field, slide)
    # libvips' resize, which enlarges its positions, starts half a voxel before the first one
    vectors = vectors / scale + 0.5
    stored = str(Path(output).with_name("deeperhistreg.mha"))
    DisplacementFieldSaver().save(vectors, stored)
    package.apply_deformation(
        source_image_path=slide,
        target_image_path=slide,  # only for the result's size
        warped_image_path=output,
        displacement_field_path=stored,
        loader=package.loaders.TIFFLoader,
        saver=package.savers.TIFFSaver,
        save_params={"compression": "jpeg", "Q": QUALITY, "tile": True, "tile_width": TILE, "tile_height": TILE},
        pad_value=BACKGROUND,
    )


def valis(field: str, slide: str, output: str, interpolation: str = "bilinear", rigid: bool = False) -> None:
    """``warp_and_save_slide``; ``rigid`` adds the pass of a matrix, which its own registrations have; here identity."""
    _stand_in_for_torchvision()
    from valis import slide_io

    vectors, scale = _vectors(field, slide)
    shape = vectors.shape[1:]
    written = Path(output).with_name("valis.ome.tiff")  # it takes no other ending
    slide_io.warp_and_save_slide(
        slide,
        str(written),
        transformation_src_shape_rc=shape,
        transformation_dst_shape_rc=shape,
        aligned_slide_shape_rc=_size(slide)[::-1],
        M=np.eye(3) if rigid else None,
        dxdy=list(vectors / scale),
        interp_method=interpolation,
        bg_color=[BACKGROUND] * 3,
        compression="jpeg",
        Q=VALIS_QUALITY,
    )
    os.replace(written, output)


def _vectors(field: str, slide: str) -> tuple[Any, Any]:
    """(2, rows, columns) in pixels of the slide, and (2, 1, 1) slide pixels a voxel."""
    vectors = np.load(field)
    return vectors, (np.array(_size(slide)) / vectors.shape[:0:-1])[:, None, None]


def _size(slide: str) -> tuple[int, int]:
    import pyvips

    image = pyvips.Image.new_from_file(slide)
    return image.width, image.height


def _stand_in_for_torchvision() -> None:
    """Both import torchvision, which warping does not use and whose builds for the CPU are not everywhere."""
    if find_spec("torchvision") is not None:
        return
    for name in ("torchvision", "torchvision.transforms", "torchvision.models", "torchvision.models.optical_flow"):
        module: Any = types.ModuleType(name)
        module.__path__ = []
        module.raft_large, module.Raft_Large_Weights = None, types.SimpleNamespace(DEFAULT=None)
        sys.modules[name] = module
        parent, _, child = name.rpartition(".")
        if parent:
            setattr(sys.modules[parent], child, module)


ENGINES: dict[str, Callable[[str, str, str], None]] = {
    "deeperhistreg": deeperhistreg,
    "valis": valis,
    "valis_default": partial(valis, interpolation="bicubic", rigid=True),
}

if __name__ == "__main__":
    Path(sys.argv[4]).parent.mkdir(parents=True, exist_ok=True)
    ENGINES[sys.argv[1]](*sys.argv[2:])
