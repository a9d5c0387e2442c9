"""viewer.html: fixed and aligned image zoomed together, from tiles of an image pyramid beside it."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from custom_components.errors import InputError
from custom_components.outputs.pictures import RGB, jpeg
from custom_components.outputs.report import environment
from custom_components.pairs import atomic_path

TILE = 512
TILES = "viewer_tiles"
LAYERS = ("fixed", "warped")


def pyramid(image: RGB, tile: int = TILE) -> list[RGB]:
    """The picture (H, W, 3) and its halvings, the smallest, which fits one tile, first."""
    levels = [image]
    while max(levels[0].shape[:2]) > tile:
        height, width = (-(-side // 2) for side in levels[0].shape[:2])
        levels.insert(0, np.asarray(cv2.resize(levels[0], (width, height), interpolation=cv2.INTER_AREA), np.uint8))
    return levels


def cut(image: RGB, tile: int = TILE) -> Iterator[tuple[int, int, RGB]]:
    """(row, column, picture) of the tiles that a picture (H, W, 3) consists of; the last ones are smaller."""
    for top in range(0, image.shape[0], tile):
        for left in range(0, image.shape[1], tile):
            yield top // tile, left // tile, image[top : top + tile, left : left + tile]


def outlines_of(geojson: Any) -> list[list[list[float]]]:
    """All lines of a GeoJSON as lists of [x, y] to a tenth of a pixel; points are left out."""
    if isinstance(geojson, list):
        if geojson and all(isinstance(v, list) and v and isinstance(v[0], int | float) for v in geojson):
            return [[[round(float(v), 1) for v in point[:2]] for point in geojson]]
        return [line for part in geojson for line in outlines_of(part)]
    if not isinstance(geojson, dict) or geojson.get("type") in ("Point", "MultiPoint"):
        return []
    parts = (geojson.get(key) for key in ("features", "geometries", "geometry", "coordinates"))
    return [line for part in parts if part for line in outlines_of(part)]


def write_pages(
    folder: Path, fixed: RGB, warped: RGB, metrics: Mapping[str, Any], outlines: list[list[list[float]]]
) -> Path:
    """Write ``viewer.html`` and its tiles into a result's folder, whole or not at all; returns the page.

    Args:
        folder: of the result.
        fixed: (H, W, 3).
        warped: the same size.
        metrics: of metrics.json.
        outlines: lines [[x, y], ...] in pixels of the fixed image, drawn over it.

    Raises:
        InputError: the pictures differ in size, or the folder can't be written.
    """
    if fixed.shape != warped.shape:
        raise InputError(
            f"{folder}: the fixed image has {fixed.shape[1]} x {fixed.shape[0]} pixels, the warped one "
            f"{warped.shape[1]} x {warped.shape[0]}; was the fixed image replaced? Register the pair again"
        )
    final, partial = folder / TILES, folder / f".{uuid.uuid4().hex[:8]}.{TILES}"
    try:
        sizes = _write_layer(partial / LAYERS[0], fixed)
        _write_layer(partial / LAYERS[1], warped)
        shutil.rmtree(final, ignore_errors=True)
        os.replace(partial, final)
    except OSError as error:
        raise InputError(f"{folder}: can't be written ({error.strerror or error})") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    pixel = metrics.get("fixed_pixel_size")
    scene = {
        "levels": sizes, "tile": TILE, "root": TILES, "outlines": outlines, "micrometres": pixel[1] if pixel else None,
    }  # fmt: skip
    text = environment().get_template("viewer.html.j2").render(m=metrics, scene=scene)
    with atomic_path(folder / "viewer.html") as page:
        page.write_text(text, encoding="utf-8")
    return folder / "viewer.html"


def _write_layer(root: Path, image: RGB) -> list[list[int]]:
    """Write the tiles of all levels; returns the levels' [width, height]."""
    levels = pyramid(image)
    for number, level in enumerate(levels):
        (root / str(number)).mkdir(parents=True)
        for row, column, picture in cut(level):
            (root / str(number) / f"{column}_{row}.jpg").write_bytes(jpeg(picture, quality=88))
    return [[level.shape[1], level.shape[0]] for level in levels]
