"""A page that zooms the fixed and the aligned image of a result together.

    python -m custom_components.view out/IHC_to_HE

writes ``viewer.html`` and a folder of tiles beside it. The page needs no network and no server.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import fire

from custom_components.errors import InputError
from custom_components.outputs.native import native_array
from custom_components.outputs.pictures import to_rgb
from custom_components.outputs.viewer import outlines_of, write_pages
from custom_components.pairs import read_geojson, read_image


def write_viewer(folder: str | Path) -> Path:
    """Write the viewer of a result's folder; returns the page.

    Args:
        folder: of one pair, such as out/IHC_to_HE.

    Raises:
        InputError: it holds no result of two sections, or the fixed image is not where it was.
    """
    root = Path(folder)
    try:
        metrics = json.loads((root / "metrics.json").read_text())
    except (OSError, ValueError) as error:
        raise InputError(f"{root} holds no metrics.json of a registration; give the folder of one pair") from error
    warped = sorted(root.glob("warped.*"))
    if metrics.get("status") == "failed" or not warped:
        raise InputError(f"{root} holds no aligned image: {metrics.get('reason', 'it is missing')}")
    if len(metrics["fixed_grid"]["shape"]) != 2:
        raise InputError(f"{root} is a registration of volumes; the viewer shows sections, 3D Slicer shows volumes")
    outlines = [line for file in sorted(root.glob("warped_*.geojson")) for line in outlines_of(read_geojson(file))]
    fixed, aligned = (to_rgb(native_array(read_image(file))) for file in (metrics["fixed"], warped[0]))
    return write_pages(root, fixed, aligned, metrics, outlines)


def view(folder: str) -> str:
    """Write ``viewer.html`` into the folder of a result and return its path.

    Args:
        folder: of one pair, such as out/IHC_to_HE.
    """
    return str(write_viewer(folder))


def main() -> None:
    """Command line; a wrong folder gives one line and exit code 1."""
    try:
        fire.Fire(view)
    except InputError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
