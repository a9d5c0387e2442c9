"""The report's pictures of an error estimate: colours over the fixed image, and the bar that says what they mean."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib import colormaps
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from scipy.ndimage import binary_erosion

from custom_components.common.arrays import Array
from custom_components.fields import ErrorMap, Grid, pixels_per_length
from custom_components.outputs.pictures import RGB, shrink_to
from custom_components.outputs.sections import sections, side_by_side
from custom_components.outputs.units import UNITS

COLOURS = "YlOrRd"  # pale where the field is sure, over grey, so that no stain is taken for it
OUTLINE = (0.1, 0.35, 0.9)  # of where the error is unknown, since fixed tissue has no counterpart
SHOWN = 99  # percentile at the end of the bar; what is larger has its colour


def draw_errors(backgrounds: Sequence[RGB], errors: ErrorMap, shown: Grid, file: Grid) -> dict[str, RGB]:
    """Pictures of the expected error and of the bound that 95 % of places stay below.

    Args:
        backgrounds: the fixed image on ``shown``; of a volume its three sections.
        errors: the map.
        shown: grid of the pictures.
        file: of the fixed image's file, whose pixels are counted; of volumes lengths are.
    """
    layers, volume = errors.on(shown), len(file.shape) == 3
    unit = "pixel" if not volume else "voxel" if file.unit == "pixel" else file.unit
    names = {"expected_error": "expected error", "error_bound": "95 % bound"}
    pictures = {}
    for (name, label), layer in zip(names.items(), layers, strict=True):
        values = layer[None] * (1.0 if volume else pixels_per_length(file))
        parts = [part[0] for part in (sections(values) if volume else [values])]
        pictures[name] = error_picture(backgrounds, parts, f"{label}, {UNITS[unit]}")
    return pictures


def error_picture(backgrounds: Sequence[RGB], errors: Sequence[Array], label: str) -> RGB:
    """Errors as colours over grey pictures (H, W, 3), side by side, with one bar for all.

    Args:
        backgrounds: pictures.
        errors: (H, W) of each.
        label: of the bar.
    """
    finite = np.concatenate([part[np.isfinite(part)] for part in errors])
    top = max(float(np.percentile(finite, SHOWN)), 1e-6) if finite.size else 1.0
    row = side_by_side([overlay(*pair, top) for pair in zip(backgrounds, errors, strict=True)])
    row = shrink_to(row, 900)
    bar = colour_bar(max(row.shape[0], 160), top, label)
    return side_by_side([row, bar])


def overlay(background: RGB, error: Array, top: float) -> RGB:
    """A picture in grey, coloured by (H, W) errors from 0 to ``top``; unknown ones stay grey, outlined."""
    grey = (background.astype(np.float64) @ np.array([0.299, 0.587, 0.114]))[..., None] / 255
    colour = np.asarray(colormaps[COLOURS](np.clip(np.nan_to_num(error) / top, 0, 1)))[..., :3]
    mixed = np.where(np.isfinite(error)[..., None], colour * (0.35 + 0.65 * grey), grey)
    unknown = ~np.isfinite(error)
    mixed[unknown & ~binary_erosion(unknown, iterations=2, border_value=1)] = OUTLINE
    return np.ascontiguousarray((mixed * 255).round().astype(np.uint8))


def colour_bar(height: int, top: float, label: str) -> RGB:
    """The bar of ``overlay``, ``height`` pixels high."""
    dpi = 100 * max(1.0, height / 450)  # pages show large pictures smaller
    figure = Figure(figsize=(0.9, height / dpi), dpi=dpi)
    canvas = FigureCanvasAgg(figure)
    axes = figure.add_axes((0.05, 0.04, 0.2, 0.92))
    figure.colorbar(ScalarMappable(Normalize(0, top), COLOURS), cax=axes, label=label, extend="max")
    canvas.draw()
    return np.ascontiguousarray(np.asarray(canvas.buffer_rgba())[..., :3])
