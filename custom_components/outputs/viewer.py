"""viewer.html: fixed and aligned image zoomed together, from tiles beside it, and the links that lead to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import log2
from pathlib import Path
from typing import Any

from tqdm import tqdm

from custom_components.common.errors import InputError
from custom_components.fields import Grid
from custom_components.outputs.report import VIEWER_LINK, environment
from custom_components.outputs.summary import write_summary
from custom_components.outputs.tiles import Layer, block_count, make_layer, write_tiles
from custom_components.pairs import Slide, atomic_folder, atomic_path
from custom_components.pairs.atomic import IsOurs, clear_folder_leftovers
from custom_components.pairs.tiff_pages import Shape
from custom_components.slides.pyramid import TILE

TILES = "viewer_tiles"
LAYERS = ("fixed", "warped")
MADE_BY = "made_by.txt"  # marks the folder of tiles as ours
LONGEST = 16384  # pixels of the longest side that are shown unless more is asked for


def extract_outlines(geojson: Any) -> list[list[list[float]]]:
    """All lines of a GeoJSON as lists of [x, y] to a tenth of a pixel; points are left out."""
    if isinstance(geojson, list):
        if geojson and all(isinstance(v, list) and v and isinstance(v[0], int | float) for v in geojson):
            return [[[round(float(v), 1) for v in point[:2]] for point in geojson]]
        return [line for part in geojson for line in extract_outlines(part)]
    if not isinstance(geojson, dict) or geojson.get("type") in ("Point", "MultiPoint"):
        return []
    parts = (geojson.get(key) for key in ("features", "geometries", "geometry", "coordinates"))
    return [line for part in parts if part for line in extract_outlines(part)]


def frame_scale(shape: Shape, fixed_levels: Sequence[Shape]) -> tuple[float, float] | None:
    """(row, col) full-resolution pixels of the fixed image that a pixel of an image in its frame is wide.

    Args:
        shape: (height, width) of the image: the fixed one's, or that of one of its levels, averaged in squares.
        fixed_levels: (height, width) of each level of the fixed image, largest first.

    Returns:
        None for an image that does not cover the frame.
    """
    for level in fixed_levels:
        factor = max(1, round(level[0] / shape[0]))
        if all(part in (side // factor, -(-side // factor)) for part, side in zip(shape, level, strict=True)):
            whole = Grid.of_pixels(fixed_levels[0])
            rows, columns = (float(step) * factor for step in whole.level(level).spacing)
            return rows, columns
    return None


def halvings(side: int, longest: int) -> int:
    """How often ``side`` pixels are halved, rounded up, until there are at most ``longest``."""
    return next(level for level in range(64) if -(-side // (1 << level)) <= longest)


def make_layers(fixed: Slide, warped: Slide, level: int | None) -> tuple[Layer, Layer]:
    """Both images as they are shown.

    Args:
        fixed: open.
        warped: in its frame.
        level: 0 is the full resolution, each further one half of it; None takes the first whose longest side is
            at most ``LONGEST``, and of a coarse aligned image no finer one than that has.

    Raises:
        InputError: no such level, or the images do not cover the same frame.
    """
    frame = fixed.levels[0]
    scale = frame_scale(warped.levels[0], fixed.levels)
    if scale is None:
        raise InputError(
            f"the aligned image {warped.path} is {_size(warped.levels[0])} pixels, which is neither the fixed image's "
            f"{_size(frame)} nor that shrunk; give an image in the frame of the fixed one"
        )
    most = halvings(max(frame), TILE)
    if level is None:
        level = min(max(halvings(max(frame), LONGEST), int(log2(max(scale)) + 1e-6)), most)
    if type(level) is not int or not 0 <= level <= most:
        raise InputError(f"--level is a whole number from 0, full resolution, to {most} here, got {level}")
    return make_layer(fixed, (1.0, 1.0), 1 << level), make_layer(warped, scale, 1 << level)


def recognise_tiles(folder: Path) -> IsOurs:
    """Takes a folder for tiles of a viewer; only the tiles in it are ours.

    Raises:
        InputError: no viewer has made it.
    """
    if not (folder / MADE_BY).is_file() and not (folder.parent / "viewer.html").is_file():
        raise InputError(f"{folder} is not recognisable as the tiles of a viewer and is not replaced; move it away")
    return lambda name: name == MADE_BY or name.split("/")[0] in LAYERS


def write_viewer_page(
    folder: Path,
    layers: tuple[Layer, Layer],
    metrics: Mapping[str, Any],
    outlines: list[list[list[float]]],
    threads: int = 1,
) -> Path:
    """Write ``viewer.html`` and its tiles into a result's folder, and link to it; returns the page.

    Args:
        folder: of the result.
        layers: fixed and aligned image.
        metrics: of metrics.json.
        outlines: lines [[x, y], ...] in pixels of the fixed image at full resolution, drawn over it; (0, 0) is the
            outer corner of the first pixel.
        threads: that make tiles.

    Raises:
        InputError: the folder can't be written, or is full.
    """
    frame = layers[0].slide.levels[0]
    shown: dict[str, Any] = {}
    clear_folder_leftovers(folder, [TILES], lambda _: recognise_tiles)
    try:
        with (
            atomic_folder(folder / TILES, recognise_tiles) as partial,
            tqdm(total=sum(map(block_count, layers)), unit="block", desc="viewer", delay=2, leave=False) as bar,
        ):
            (partial / MADE_BY).write_text("warpzoo view: the tiles of viewer.html, which replaces them\n")
            for name, layer in zip(LAYERS, layers, strict=True):
                sizes = write_tiles(layer, partial / name, threads, bar.update)
                shown[name] = {"scale": layer.scale[::-1], "levels": [size[::-1] for size in sizes]}
    except OSError as error:
        raise InputError(f"{folder}: can't be written ({error.strerror or error})") from error
    pixel = metrics.get("fixed_pixel_size")
    scene = {
        "frame": frame[::-1], "layers": shown, "tile": TILE, "root": TILES, "outlines": outlines,
        "micrometres": pixel[1] if pixel else None,
    }  # fmt: skip
    report = folder / "report.html"
    text = environment().get_template("viewer.html.j2").render(
        m=metrics, scene=scene, report=report.is_file(), shown=_resolutions(layers)
    )  # fmt: skip
    with atomic_path(folder / "viewer.html") as page:
        page.write_text(text, encoding="utf-8")
    _link_from(report)
    return folder / "viewer.html"


def _link_from(report: Path) -> None:
    """Take the link to the viewer out of its comment in the report, and write the run's index anew, where they are."""
    if report.is_file():
        text = report.read_text(encoding="utf-8")
        if f"<!--{VIEWER_LINK}-->" in text:
            with atomic_path(report) as partial:
                partial.write_text(text.replace(f"<!--{VIEWER_LINK}-->", VIEWER_LINK), encoding="utf-8")
    run = report.parent.parent
    if (run / "index.html").is_file() and (run / "summary.json").is_file():  # of a run; a series has its own index
        write_summary(run)


def _resolutions(layers: Sequence[Layer]) -> str:
    """What is shown of the full resolution, for readers; empty where it is all."""
    coarse = [max(layer.scale) for layer in layers]
    if max(coarse) <= 1:
        return ""
    parts = [f"1/{scale:g}" if scale > 1 else "full" for scale in coarse]
    if parts[0] == parts[1]:
        return f"both images at {parts[0]} of the full resolution"
    return f"fixed image at {parts[0]}, aligned image at {parts[1]} resolution"


def _size(shape: Shape) -> str:
    return f"{shape[1]} x {shape[0]}"
