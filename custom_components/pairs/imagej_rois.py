"""ImageJ's regions of interest, ``.roi`` and ``.zip``, as GeoJSON and back.

ImageJ counts areas from the outer corner of the first pixel, as QuPath does, but lines and points from its centre; they
are shifted by half a pixel here, so that all GeoJSON begins at the corner.
"""

from __future__ import annotations

import re
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from custom_components.common.errors import InputError
from custom_components.common.limits import check_unpacked
from custom_components.pairs.formats import UNREADABLE
from custom_components.pairs.shapes import (
    LINE,
    POINTS,
    POLYGON,
    Ring,
    Shape,
    bounds,
    ellipse,
    nested_rings,
    rectangle,
    ring,
    to_collection,
    to_shapes,
)
from custom_components.pairs.sheets import optional_package

HALF = 0.5
NUMBERS = ("position", "c_position", "z_position", "t_position", "group", "stroke_width", "float_stroke_width")
COLORS = ("stroke_color", "fill_color")
MOVE, TO, CLOSE = 0.0, 1.0, 4.0  # of a path of several rings
NO_COLOR = b"\0\0\0\0"


def is_roi_zip(path: str | Path) -> bool:
    """Whether a zip file holds ImageJ's regions."""
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.lower().endswith(".roi") for name in archive.namelist())
    except UNREADABLE:
        return False


def read_rois(file: Path) -> tuple[dict[str, Any], list[str]]:
    """(FeatureCollection in pixels from the outer corner of the first one, what was left out).

    Ellipses become polygons, selections in several parts multipolygons with holes. Names, colours, positions in a
    stack, groups and counters are kept in ``properties``, what ImageJ alone knows under ``imagej``.

    Raises:
        InputError: the package roifile is missing, or the file is damaged.
    """
    package = optional_package("roifile", file, "annotations")
    shapes, notes = [], []
    for name, content in _contents(file):
        try:
            roi = package.ImagejRoi.frombytes(content)
            shape = _to_shape(roi, package)
        except Exception as error:  # roifile raises whatever it meets in a damaged file
            raise InputError(f"annotations {file}: {name} can't be read as a region of ImageJ: {error}") from error
        if shape is None:
            notes.append(f"{name} is no outline, line or point and is left out")
        else:
            shapes.append(shape)
    return to_collection(shapes), notes


def write_rois(path: Path, data: Any, suffix: str) -> list[str]:
    """Write GeoJSON as ``.roi``, which holds one region, or ``.zip``; returns what the form can't hold.

    Raises:
        InputError: several regions for a ``.roi``, none at all, or the package roifile is missing.
    """
    package = optional_package("roifile", path, "annotations")
    shapes, notes = to_shapes(data)
    if suffix == ".roi":
        if len(shapes) != 1:
            raise InputError(f"a .roi file holds one region, there are {len(shapes)}; let the result end in .zip")
        path.write_bytes(_to_roi(shapes[0], package).tobytes())
        return notes
    taken: set[str] = set()
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for number, shape in enumerate(shapes, start=1):
            stem = re.sub(r"[\\/:*?\"<>|\x00-\x1f]", "_", shape.name).removesuffix(".roi") or f"{number:04d}"
            entry, turn = stem, 1
            while entry.lower() in taken:
                entry, turn = f"{stem}-{turn}", turn + 1
            taken.add(entry.lower())
            archive.writestr(f"{entry}.roi", _to_roi(shape, package).tobytes())
    return notes


def _contents(file: Path) -> list[tuple[str, bytes]]:
    if file.suffix.lower() != ".zip":
        return [(file.name, file.read_bytes())]
    try:
        with zipfile.ZipFile(file) as archive:
            entries = [entry for entry in archive.infolist() if entry.filename.lower().endswith(".roi")]
            check_unpacked(file, sum(entry.file_size for entry in entries), "annotations")
            return [(entry.filename, archive.read(entry)) for entry in entries]
    except InputError:
        raise
    except UNREADABLE as error:
        raise InputError(f"annotations {file} can't be read, the file may be damaged: {error}") from error


def _to_shape(roi: Any, package: Any) -> Shape | None:
    types = package.ROI_TYPE
    own = {name: getattr(roi, name) for name in NUMBERS if getattr(roi, name)}
    own |= {name: getattr(roi, name).hex() for name in COLORS if getattr(roi, name) != NO_COLOR}
    if roi.counters is not None:
        own["counters"] = [[int(c), int(p)] for c, p in zip(roi.counters, roi.counter_positions, strict=True)]
    further = _properties(roi.props)
    if further:
        own["props"] = roi.props
    color = tuple(roi.stroke_color[1:]) if roi.stroke_color != NO_COLOR else None
    known: dict[str, Any] = {
        "name": roi.name, "group": further.get("class", ""), "id": further.get("id", ""), "color": color,
        "properties": {"imagej": own | {"type": roi.roitype.name}},
    }  # fmt: skip
    if roi.composite and roi.multi_coordinates is not None:
        rings = [ring(part) for part in roi.path2coords(roi.multi_coordinates) if len(part) > 2]
        return Shape(POLYGON, nested_rings(rings), **known) if rings else None
    if roi.roitype in (types.RECT, types.OVAL):
        box = (roi.left, roi.top, roi.right, roi.bottom)
        if roi.subpixelrect:
            box = (roi.xd, roi.yd, roi.xd + roi.widthd, roi.yd + roi.heightd)
        make = ellipse if roi.roitype == types.OVAL else rectangle
        return Shape(POLYGON, [[make(*box)]], **known)
    points = np.asarray(roi.coordinates(), dtype=np.float64)
    if len(points) == 0:
        return None
    if roi.roitype in (types.POLYGON, types.FREEHAND, types.TRACED):
        return Shape(POLYGON, [[ring(points)]], **known) if len(points) > 2 else None
    kind = POINTS if roi.roitype == types.POINT else LINE
    return Shape(kind, [[(points + HALF).tolist()]], **known)


def _to_roi(shape: Shape, package: Any) -> Any:
    own = shape.properties.get("imagej")
    own = own if isinstance(own, dict) else {}
    rings = [r for polygon in shape.parts for r in polygon]
    points = np.concatenate([np.asarray(r, dtype=np.float64) for r in rings])
    if shape.kind == POLYGON and len(rings) > 1:
        roi = package.ImagejRoi()
        roi.roitype = package.ROI_TYPE.RECT
        path = np.array([number for r in rings for number in _path(r)], dtype=np.float32)
        roi.multi_coordinates, roi.shape_roi_size = path, len(path)
        left, top, right, bottom = bounds(points)
        roi.left, roi.top, roi.right, roi.bottom = (int(np.floor(left)), int(np.floor(top)),
                                                    int(np.ceil(right)), int(np.ceil(bottom)))  # fmt: skip
    else:
        flat = points[:-1] if shape.kind == POLYGON else points - HALF
        roi = package.ImagejRoi.frompoints(flat)
        kind = {POLYGON: "POLYGON", LINE: "POLYLINE", POINTS: "POINT"}[shape.kind]
        roi.roitype = package.ROI_TYPE[kind]
        roi.options = package.ROI_OPTIONS.SUB_PIXEL_RESOLUTION
    roi.name = shape.name
    for name in NUMBERS:
        if isinstance(own.get(name), int | float):
            setattr(roi, name, own[name])
    for name in COLORS:
        if isinstance(own.get(name), str):
            setattr(roi, name, bytes.fromhex(own[name]))
    if shape.color is not None and "stroke_color" not in own:
        roi.stroke_color = bytes((255, *shape.color))
    counters = own.get("counters")
    if shape.kind == POINTS and isinstance(counters, list) and len(counters) == len(points):
        roi.counters = np.array([c for c, _ in counters], dtype=np.uint8)
        roi.counter_positions = np.array([p for _, p in counters], dtype=np.uint32)
    further = _properties(str(own.get("props", ""))) | {"class": shape.group, "id": shape.id}
    roi.props = "".join(f"{key}: {value}\n" for key, value in further.items() if value)
    return roi


def _path(closed: Ring) -> list[float]:
    first, *others = closed[:-1]
    return [MOVE, *first, *(number for point in others for number in (TO, *point)), CLOSE]


def _properties(text: str) -> dict[str, str]:
    """ImageJ's properties of a region, a "key: value" a line."""
    pairs = (line.partition(":") for line in text.splitlines())
    return {key.strip(): value.strip() for key, mark, value in pairs if mark}
