"""Points and annotations that come with a request, as the files that a pair has."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from custom_components.annotations import check_annotations
from custom_components.common.errors import InputError
from custom_components.pairs import match_landmarks, read_landmarks, write_points
from custom_components.serving.errors import RequestError
from custom_components.serving.files import file_inside

FIELDS = {"points": "moving_landmarks", "fixed_points": "fixed_landmarks", "annotations": "moving_annotations"}


def attach_files(given: Mapping[str, Any], studies: Path, scratch: Path, follow_links: bool = False) -> dict[str, Path]:
    """Files of a request's points and annotations, by the name that ``Pair`` has for them.

    Args:
        given: the request's parameters.
        studies: where files that are named lie.
        scratch: an empty folder for what comes in the request itself.
        follow_links: also where a link leads out of ``studies``.

    Raises:
        RequestError: a value of another form, a file that is missing or wrong, or points that have nothing in common.
    """
    files: dict[str, Path] = {}
    for name, attribute in FIELDS.items():
        value = given.get(name)
        if value is None or value == "":
            continue
        try:
            if isinstance(value, str):
                file = file_inside(studies, value, name, follow_links)
            else:
                file = _written(name, value, scratch)
            if name == "annotations":
                check_annotations(file)  # raises for what can't be carried
            else:
                read_landmarks(file)
        except RequestError:
            raise
        except InputError as error:
            raise RequestError(name, str(error)) from error
        files[attribute] = file
    if "fixed_landmarks" in files:
        if "moving_landmarks" not in files:
            raise RequestError("fixed_points", "need points, the same places in the moving image")
        both = files["moving_landmarks"], files["fixed_landmarks"]
        try:
            match_landmarks(read_landmarks(both[0]), read_landmarks(both[1], "fixed"), ("points", "fixed_points"))
        except InputError as error:
            raise RequestError("fixed_points", str(error)) from error
    return files


def _written(name: str, value: Any, scratch: Path) -> Path:
    """What stands in the request as a file; points are x, y."""
    if name == "annotations":
        file = scratch / "annotations.geojson"
        file.write_text(json.dumps(value), encoding="utf-8")
        return file
    try:
        xy = np.array(value, dtype=np.float64)
    except (TypeError, ValueError):
        xy = np.empty(0)
    if xy.ndim != 2 or xy.shape[1] != 2 or not np.isfinite(xy).all():
        raise RequestError(name, "are [[x, y], ...] in pixels, or the name of a CSV file of the studies folder")
    file = scratch / f"{name}.csv"
    write_points(file, xy[:, ::-1])
    return file
