"""Annotations of several programs, read as GeoJSON and written in their own form; which one is seen by the suffix."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from custom_components.common.errors import InputError
from custom_components.pairs.annotation_parquet import SUFFIXES, holds_outlines, read_geoparquet, write_geoparquet
from custom_components.pairs.annotation_xml import read_xml, write_xml
from custom_components.pairs.atomic import atomic_path
from custom_components.pairs.geojson import geojson_stem, read_geojson, write_geojson
from custom_components.pairs.imagej_rois import is_roi_zip, read_rois, write_rois
from custom_components.pairs.unreadable import readable


@dataclass(frozen=True)
class AnnotationFile:
    """Annotations as read.

    Attributes:
        data: GeoJSON, pixels from the outer corner of the first one unless the user says otherwise.
        form: "geojson", "imagej", "imagescope", "asap" or "geoparquet".
        notes: what could not be read.
        table: Arrow table of GeoParquet, else None.
    """

    data: Any
    form: str
    notes: tuple[str, ...] = ()
    table: Any = None


def read_annotations(path: str | Path) -> AnnotationFile:
    """Read GeoJSON, ImageJ's ``.roi`` and ``.zip``, the ``.xml`` of Aperio ImageScope or ASAP, or GeoParquet.

    Raises:
        InputError: no such file, it can't be read, or a package for it is missing.
    """
    file = Path(path)
    if not file.is_file():
        raise InputError(f"annotations {file} do not exist")
    with readable(file, "annotations"):
        return _read(file)


def _read(file: Path) -> AnnotationFile:
    suffix = file.suffix.lower()
    if suffix == ".xml":
        form, data, notes = read_xml(file)
        return AnnotationFile(data, form, tuple(notes))
    if suffix == ".roi" or (suffix == ".zip" and is_roi_zip(file)):
        data, notes = read_rois(file)
        return AnnotationFile(data, "imagej", tuple(notes))
    if suffix in SUFFIXES:
        data, table = read_geoparquet(file)
        return AnnotationFile(data, "geoparquet", table=table)
    return AnnotationFile(read_geojson(file), "geojson")


def write_annotations(path: str | Path, data: Any, form: str = "geojson", table: Any = None) -> list[str]:
    """Write GeoJSON in the form that the suffix names, whole or not at all; returns what the form can't hold.

    Args:
        path: ``.roi``; ``.zip``, regions of ImageJ where ``form`` is "imagej"; ``.xml``, of ImageScope or ASAP as
            ``form`` says, else of ASAP; ``.parquet`` of what was read from such a file; all other names are GeoJSON.
        data: GeoJSON.
        form: that it was read from.
        table: of ``AnnotationFile``, for GeoParquet.

    Raises:
        InputError: the file can't be written, a package for it is missing, or GeoParquet is asked for of another form.
    """
    suffix = Path(path).suffix.lower()
    if suffix == ".xml":
        with atomic_path(path) as partial:
            return write_xml(partial, data, form if form in ("imagescope", "asap") else "asap")
    if suffix == ".roi" or (suffix == ".zip" and form == "imagej"):
        with atomic_path(path) as partial:
            return write_rois(partial, data, suffix)
    if suffix in SUFFIXES:
        if table is None:
            raise InputError(f"{path}: GeoParquet is written of annotations that were read from it; name it .geojson")
        with atomic_path(path) as partial:
            write_geoparquet(partial, data, table)
        return []
    write_geojson(path, data)
    return []


def holds_annotations(path: str | Path) -> bool:
    """Whether a file is one of annotations: by its suffix, a zip by what it holds."""
    file = Path(path)
    suffix = file.suffix.lower()
    if suffix in SUFFIXES:
        return holds_outlines(file)
    return suffix in (".geojson", ".roi", ".xml") or (suffix == ".zip" and is_roi_zip(file))


def warped_name(path: str | Path, prefix: str = "warped_") -> str:
    """Name of an annotation file carried over by a registration: GeoJSON unpacked, other forms as they were."""
    file = Path(path)
    suffix = file.suffix.lower()
    if suffix in (".roi", ".xml", *SUFFIXES) or (suffix == ".zip" and is_roi_zip(file)):
        return f"{prefix}{file.name}"
    return f"{prefix}{geojson_stem(file)}.geojson"
