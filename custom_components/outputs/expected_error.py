"""What an error estimate says of a pair as a whole, in figures and in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from torch import Tensor

from custom_components.annotations import PointMap
from custom_components.fields import Grid, pixels_per_length, voxel_length
from custom_components.metrics import tre
from custom_components.outputs.attached import CarriedLandmarks
from custom_components.outputs.units import UNITS

MICROMETRES = "micrometre"


def error_figures(
    error: Tensor, mask: Tensor, working: Grid, file: Grid, pixel_size: tuple[float, float] | None
) -> dict[str, Any] | None:
    """``expected_error`` of metrics.json; None where no place has a finite estimate.

    Args:
        error: (1, 2, *spatial), voxels of ``working``: the expected error and the bound.
        mask: (1, *spatial) tissue of the fixed image; where there is none the whole image counts.
        working: grid of the fixed working image.
        file: of the fixed image's file.
        pixel_size: (row, col) micrometres of a pixel of that file, or None.

    Returns:
        ``median`` of the expected error and ``p95``, the 95th percentile of the bound, over the tissue, in ``unit``: of
        sections "pixel", those of the fixed image's file, with the same as ``median_micrometre`` and
        ``p95_micrometre`` where the pixel size is known; of volumes "millimetre", or "voxel" where none is stated.
        ``share`` is the median as a share of the diagonal of the tissue's bounding box, ``unknown_share`` that of the
        tissue where nothing is known of the error, as it has no counterpart.
    """
    tissue = (mask > 0.5)[0] if bool((mask > 0.5).any()) else (mask == mask)[0]
    inside = error[0].detach().cpu()[:, tissue.cpu()].double().numpy()
    lengths = inside[:, np.isfinite(inside).all(axis=0)] * voxel_length(working)
    if lengths.size == 0:
        return None
    median, highest = float(np.median(lengths[0])), float(np.percentile(lengths[1], 95))
    places = tissue.cpu().nonzero()
    sides = (places.amax(0) - places.amin(0) + 1).double().numpy()
    unknown = 1 - lengths.shape[1] / inside.shape[1]
    share = {"share": median / float(np.linalg.norm(sides * working.spacing)), "unknown_share": unknown}
    if len(file.shape) == 3:
        return {"median": median, "p95": highest, "unit": "voxel" if file.unit == "pixel" else file.unit, **share}
    scale = pixels_per_length(file)
    pixels = {"median": median * scale, "p95": highest * scale}
    size = {} if pixel_size is None else {f"{name}_{MICROMETRES}": n * max(pixel_size) for name, n in pixels.items()}
    return {**pixels, "unit": "pixel", **size, **share}


def share_beyond_bound(way: PointMap, landmarks: CarriedLandmarks) -> float | None:
    """Share of landmarks that lie farther from their true place than the bound that the map has where they came to.

    Landmarks that came to tissue without a counterpart have no bound and don't count.

    Args:
        way: from the moving to the fixed image, with its map.
        landmarks: what both images have.
    """
    ends = landmarks.warped, landmarks.fixed
    if len(way.target_grid.shape) == 3:
        ends = way.target_grid.physical(ends[0]), way.target_grid.physical(ends[1])
    bound = way.errors(landmarks.moving, landmarks.warped)[:, 1]
    known = np.isfinite(bound)
    return float((tre(*ends) > bound)[known].mean()) if known.any() else None


def typical_error(expected: Mapping[str, Any]) -> str:
    """Such as "typical error 12 px (6.1 µm)"."""
    return f"typical error {_length(expected, 'median')}"


def told_error(expected: Mapping[str, Any]) -> str:
    """Such as "typical error 12 px (6.1 µm), 95 % of places below 31 px (15 µm)"."""
    return f"{typical_error(expected)}, 95 % of places below {_length(expected, 'p95')}"


def error_columns(expected: Mapping[str, Any] | None) -> dict[str, float]:
    """Columns of summary.csv: the unit stands in their names."""
    if not expected:
        return {}
    unit = UNITS[expected["unit"]]
    return {f"expected_error_{name}_{unit}": expected[name] for name in ("median", "p95")}


def _length(expected: Mapping[str, Any], name: str) -> str:
    text = f"{_rounded(expected[name])} {UNITS[expected['unit']]}"
    other = expected.get(f"{name}_{MICROMETRES}")
    return text if other is None else f"{text} ({_rounded(other)} {UNITS[MICROMETRES]})"


def _rounded(value: float) -> str:
    """Two digits: an estimate has no more."""
    return f"{value:.0f}" if value >= 10 else f"{value:.1f}" if value >= 1 else f"{value:.2g}"
