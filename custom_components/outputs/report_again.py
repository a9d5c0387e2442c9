"""The report of a result that was written without one, from its files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from custom_components.fields import ErrorMap, Grid
from custom_components.outputs.attached import read_carried
from custom_components.outputs.report import ReportData, write_report
from custom_components.pairs import atomic_path, read_image
from custom_components.slides.native import native_array, rim_median


def write_report_again(
    folder: Path, metrics: dict[str, Any], displacement: Any, errors: ErrorMap | None = None
) -> Path:
    """Write ``report.html`` into a result's folder and return its path; matches, which are not kept, are left out.

    Args:
        folder: of one pair.
        metrics: what its metrics.json says.
        displacement: its field, fixed -> moving.
        errors: how far that may be off, or None.

    Raises:
        InputError: an image of the pair is not where it was.
    """
    moving, fixed = (read_image(metrics[side]) for side in ("moving", "fixed"))
    array, none = native_array(moving), np.zeros((0, displacement.GetDimension()))
    data = ReportData(
        native_array(fixed), array, Grid.of(fixed), Grid.of(moving), displacement, rim_median(array),
        (none, none), (none, none), Grid.from_json(metrics["fixed_grid"], metrics["unit"]),
        read_carried(metrics, folder), errors,
    )  # fmt: skip
    with atomic_path(folder / "report.html") as partial:
        write_report(partial, metrics, data)
    return folder / "report.html"
