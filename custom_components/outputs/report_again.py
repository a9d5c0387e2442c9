"""The report of a result that was written without one, from its files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from custom_components.fields import Grid
from custom_components.outputs.report import ReportData, write_report
from custom_components.pairs import atomic_path, read_image, read_points
from custom_components.slides.native import native_array, rim_median


def write_report_again(folder: Path, metrics: dict[str, Any], displacement: Any) -> Path:
    """Write ``report.html`` into a result's folder and return its path; matches, which are not kept, are left out.

    Args:
        folder: of one pair.
        metrics: what its metrics.json says.
        displacement: its field, fixed -> moving.

    Raises:
        InputError: an image of the pair is not where it was.
    """
    moving, fixed = (read_image(metrics[side]) for side in ("moving", "fixed"))
    array, none = native_array(moving), np.zeros((0, displacement.GetDimension()))
    inputs = metrics.get("run", {}).get("inputs", {})
    marks = [inputs.get(f"{side}_landmarks", {}).get("path") for side in ("moving", "fixed")]
    warped, landmarks = folder / "warped_landmarks.csv", None
    if warped.is_file() and all(mark is not None and Path(mark).is_file() for mark in marks):
        landmarks = (read_points(marks[0]), read_points(warped), read_points(marks[1]))
    data = ReportData(
        native_array(fixed), array, Grid.of(fixed), Grid.of(moving), displacement, rim_median(array),
        (none, none), (none, none), fixed.meta["file_grid"], landmarks,
        [str(number + 1) for number in range(len(landmarks[0]))] if landmarks else (),
    )  # fmt: skip
    with atomic_path(folder / "report.html") as partial:
        write_report(partial, metrics, data)
    return folder / "report.html"
