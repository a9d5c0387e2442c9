"""Calls VALIS and DeeperHistReg in a Python of their own, with the field that benchmarks.whole_slides warps by."""

from __future__ import annotations

import shutil
import struct
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tifffile

from custom_components.fields import index_to_physical
from custom_components.fields.blocks import FieldBlocks
from custom_components.pairs import open_slide
from custom_components.results.folder import ResultFolder

SCRIPT = Path(__file__).with_name("rival_engines.py")
PACKAGES = {"deeperhistreg": "deeperhistreg", "valis": "valis", "valis_default": "valis"}


def missing_rival(engine: str, python: str | None) -> str:
    """Why an engine can't run in that Python, in one line; empty where it can."""
    package = PACKAGES[engine]
    if not python:
        return f"{engine} is left out: give --rivals_python, a Python that has {package}; docs/slides.md says how"
    probe = f"import importlib.util, sys; sys.exit(importlib.util.find_spec('{package}') is None)"
    try:
        found = subprocess.run([python, "-I", "-c", probe], capture_output=True, check=False).returncode == 0
    except OSError as error:
        return f"{engine} is left out: {python} does not start ({error.strerror})"
    return "" if found else f"{engine} is left out: {python} has no {package}; docs/slides.md says how to install it"


def rival_command(engine: str, python: str, field: str, slide: str, output: str) -> list[str]:
    """Program that warps a slide into ``output``; writes the field for it first, beside ``output``.

    Args:
        engine: of benchmarks.rival_engines.
        python: that has it.
        field: file of a displacement image, from the slide's own grid to the slide.
        slide: TIFF.
        output: .ome.tif.
    """
    with open_slide(slide) as source:
        shape = source.levels[0]
        matrix = index_to_physical((source.pixel_size or (1.0, 1.0))[::-1])
    stored = Path(output).with_name(f"{engine}.npy")
    np.save(stored, rival_field(engine, ResultFolder(field).field(), shape, matrix))
    if PACKAGES[engine] == "valis":
        slide = str(unchained(Path(slide), Path(output).with_name("unchained.ome.tif")))
    return [python, "-I", str(SCRIPT), engine, str(stored), slide, output]


def unchained(slide: Path, copy: Path) -> Path:
    """A copy of a BigTIFF with its levels in sub-images alone: VALIS opens no OME-TIFF of pages of several sizes."""
    shutil.copyfile(slide, copy)
    with tifffile.TiffFile(copy) as tiff:
        offset, order = tiff.pages.first.offset, tiff.byteorder
    with copy.open("r+b") as stream:
        stream.seek(offset)
        (tags,) = struct.unpack(f"{order}Q", stream.read(8))
        stream.seek(offset + 8 + 20 * tags)
        stream.write(bytes(8))
    return copy


def rival_field(
    engine: str, displacement: Any, shape: tuple[int, int], matrix: npt.NDArray[np.float64]
) -> npt.NDArray[np.float32]:
    """(2, rows, columns) x and y displacement in pixels of the slide, sampled where the engine has its voxels.

    Args:
        engine: of benchmarks.rival_engines.
        displacement: displacement image, from the slide's own grid to the slide, physical units.
        shape: (height, width) of the slide.
        matrix: (3, 3) index_to_physical of the slide.
    """
    voxels = tuple(displacement.GetSize())[::-1]
    # VALIS has its first voxel on the first pixel's centre, libvips' resize half a voxel behind it
    first = 0.0 if PACKAGES[engine] == "valis" else 0.5
    factors = [whole / few for whole, few in zip(shape, voxels, strict=True)]
    places = np.diag([*factors, 1.0])
    places[:2, 2] = [first * factor for factor in factors]
    found = FieldBlocks(displacement, matrix @ places, matrix)(0, 0, *voxels)
    whole = [maps + np.float64(start) for maps, start in zip((found.rows, found.columns), found.origin, strict=True)]
    here = [places[k, k] * np.arange(voxels[k]) + places[k, 2] for k in range(2)]
    return np.stack([whole[1] - here[1], whole[0] - here[0][:, None]]).astype(np.float32)
