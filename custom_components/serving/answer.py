"""What a client is told of a result."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from custom_components.pairs import Pair, read_annotations, read_points, warped_name
from custom_components.results.stored import StoredRegistration

# of metrics.json; the images' paths on the server are none of a client's business
KEPT = (
    "id", "status", "reason", "unit", "matches", "dropped", "residual_median", "residual_median_physical",
    "inverse_error", "folding_share", "log_jacobian_deviation", "similarity", "landmarks", "notes",
    "moving_pixel_size", "fixed_pixel_size", "moving_grid", "fixed_grid", "stages", "seconds", "versions",
)  # fmt: skip
SAMPLES = 33  # of the field, a side, for its affine


def build_answer(metrics: Mapping[str, Any], pair: Pair, folder: Path, url: str) -> dict[str, Any]:
    """The result of one registration as JSON.

    Args:
        metrics: of metrics.json.
        pair: what was registered; its landmarks and annotations come back carried over.
        folder: the result's.
        url: the same as clients see it.

    Returns:
        The figures of metrics.json, ``files`` (name -> URL path), and of a registration that did not fail ``affine``
        (fixed pixel x, y -> moving pixel, 2 x 3), ``points`` ([[x, y], ...] in the fixed image) and ``annotations``
        (GeoJSON in the fixed image), the last two if they were asked for.
    """
    answer: dict[str, Any] = {key: metrics[key] for key in KEPT if key in metrics}
    names = sorted(path.relative_to(folder).as_posix() for path in folder.iterdir() if path.is_file())
    answer["files"] = {name: f"{url}/{name}" for name in names}
    if metrics["status"] == "failed":
        return answer
    # figures of the affine are of 2-D pixels
    stored = StoredRegistration(folder)
    if stored.dimensions == 2:
        answer["affine"] = pixel_affine(stored).tolist()
    if pair.moving_landmarks is not None:
        answer["points"] = read_points(folder / "warped_landmarks.csv")[:, ::-1].tolist()
    if pair.moving_annotations is not None:
        answer["annotations"] = read_annotations(folder / warped_name(pair.moving_annotations)).data
    finite: dict[str, Any] = json.loads(json.dumps(answer), parse_constant=lambda _: None)  # JSON knows no NaN
    return finite


def pixel_affine(stored: StoredRegistration) -> np.ndarray[Any, Any]:
    """(2, 3) fixed pixel (x, y, 1) -> moving pixel (x, y), the least-squares fit to a stored field of sections."""
    rows, columns = (np.linspace(0, side - 1, SAMPLES) for side in stored.grid("fixed").shape)
    places = np.stack([axis.ravel() for axis in np.meshgrid(rows, columns, indexing="ij")], axis=1)
    ends = stored.points(places, "fixed_to_moving")
    known = np.column_stack([places[:, ::-1], np.ones(len(places))])
    solution: np.ndarray[Any, Any] = np.linalg.lstsq(known, ends[:, ::-1], rcond=None)[0].T
    return solution
