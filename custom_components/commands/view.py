"""A page that zooms the fixed and the aligned image of a result together.

    warpzoo view out/IHC_to_HE
    warpzoo view out/IHC_to_HE --level 0
    warpzoo view out/IHC_to_HE --image out/IHC_to_HE/warped_PR.ome.tif

writes ``viewer.html`` and a folder of tiles beside it, and links to it from the report and the run's index. The page
needs no network and no server. Large slides are read by regions.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import fire

from custom_components.common.errors import InputError
from custom_components.common.stopping import stopped_by_signals
from custom_components.outputs.tiles import Layer, estimate
from custom_components.outputs.viewer import extract_outlines, make_layers, write_viewer_page
from custom_components.pairs import holds_annotations, read_annotations
from custom_components.results.folder import ResultFolder
from custom_components.slides.native import open_image
from custom_components.slides.warp_file import carried_slide


def write_viewer(
    folder: str | Path, image: str | Path | None = None, level: int | None = None, threads: int | None = None
) -> Path:
    """Write the viewer of a result's folder; returns the page. What it takes goes to stderr in one line.

    Args:
        folder: of one pair, such as out/IHC_to_HE.
        image: see ``view``.
        level: see ``view``.
        threads: see ``view``.

    Raises:
        InputError: it holds no result of two sections, an image is not where it was or of another size, there is no
            such level, or no room for the tiles.
    """
    stored = ResultFolder(folder)
    root, metrics = stored.folder, stored.metrics
    if stored.status == "failed":
        raise InputError(f"{root} holds no aligned image: {stored.reason or 'it is missing'}")
    if stored.dimensions != 2:
        raise InputError(f"{root} is a registration of volumes; the viewer shows sections, 3D Slicer shows volumes")
    if threads is not None and (type(threads) is not int or threads < 1):
        raise InputError(f"--threads is a whole number from 1 on, got {threads}")
    aligned = Path(image) if image is not None else aligned_image(root, metrics)
    marks = [file for file in sorted(root.glob("warped_*")) if holds_annotations(file)]
    outlines = [line for file in marks for line in extract_outlines(read_annotations(file).data)]
    with ExitStack() as opened:
        fixed, warped = (opened.enter_context(open_image(file)) for file in (stored.fixed, aligned))
        registered = stored.grid("fixed").shape
        if fixed.levels[0] != registered:
            sizes = [" x ".join(str(side) for side in reversed(shape)) for shape in (fixed.levels[0], registered)]
            raise InputError(
                f"the fixed image {fixed.path} has {sizes[0]} pixels, the registered one {sizes[1]}; was it replaced? "
                "Register the pair again"
            )
        layers = make_layers(fixed, warped, level)
        announce(stored, layers, level)
        return write_viewer_page(root, layers, metrics, outlines, threads or min(os.cpu_count() or 1, 8))


def aligned_image(root: Path, metrics: Mapping[str, Any]) -> Path:
    """The moving slide that ``apply`` carried over at its resolution, if it is there, else the registration's image.

    Raises:
        InputError: there is neither.
    """
    carried = carried_slide(root, metrics["moving"])
    warped = [carried] if carried.is_file() else sorted(root.glob("warped.*"))
    if not warped:
        raise InputError(f"{root} holds no aligned image: it is missing")
    return warped[0]


def announce(stored: ResultFolder, layers: tuple[Layer, Layer], level: int | None) -> None:
    """Say what is shown and what it takes.

    Raises:
        InputError: the disk would not hold it.
    """
    root = stored.folder
    cost, free = estimate(layers), shutil.disk_usage(root).free
    fixed, aligned = layers
    sizes = [f"{layer.shape[1]} x {layer.shape[0]}" for layer in layers]
    finest = aligned.level == 0 and aligned.factor == 1
    finer = " (--level 0 for the full resolution)" if level is None and max(fixed.scale) > 1 and not finest else ""
    takes = f"{cost.tiles} tiles, about {cost.disk / 1e6:.0f} MB and {cost.seconds:.0f} s on one core"
    print(f"{root}: fixed image {sizes[0]}, aligned image {sizes[1]} pixels{finer}, {takes}", file=sys.stderr)
    if cost.disk > free:
        raise InputError(
            f"{root}: the tiles need about {cost.disk / 1e9:.1f} GB of disk, {free / 1e9:.1f} GB are free; give a "
            "higher --level"
        )
    if finest and max(aligned.scale) > 1 and aligned.slide.path.name.startswith("warped."):
        print(
            f"note: {aligned.slide.path.name} has 1/{max(aligned.scale):g} of the full resolution; for all of it first "
            f"run warpzoo apply {root} --image {stored.moving}",
            file=sys.stderr,
        )


def view(folder: str, image: str | None = None, level: int | None = None, threads: int | None = None) -> str:
    """Write ``viewer.html`` into the folder of a result and return its path.

    Args:
        folder: of one pair, such as out/IHC_to_HE.
        image: the aligned image; default the moving slide as ``warpzoo apply`` carried it over
            (``warped_<its name>.ome.tif``) if that is in the folder, else ``warped.*``.
        level: 0 shows the full resolution, each further one half of it; default the first whose longest side is at
            most 16384 pixels, and no finer one than the aligned image has.
        threads: that make tiles; default one a core, at most 8.
    """
    return str(write_viewer(folder, image, level, threads))


def main() -> None:
    """Command line; a wrong folder gives one line and exit code 1."""
    try:
        with stopped_by_signals():
            fire.Fire(view)
    except InputError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
