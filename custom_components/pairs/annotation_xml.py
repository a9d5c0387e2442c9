"""Annotations of Aperio ImageScope and of ASAP, both XML, as GeoJSON and back; pixels from the outer corner."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

from custom_components.common.errors import InputError
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

ROOTS = {"ASAP_Annotations": "asap", "Annotations": "imagescope"}
RECTANGLE, ELLIPSE, ARROW, RULER, PIN = "1", "2", "3", "4", "5"  # ImageScope's types of regions; others are outlines
UNTRUE = ("Length", "Area", "LengthMicrons", "AreaMicrons")  # of what was bent


def read_xml(file: Path) -> tuple[str, dict[str, Any], list[str]]:
    """("imagescope" or "asap", FeatureCollection, what was left out).

    ImageScope's layers and ASAP's groups are the classes of the objects; ellipses become polygons, negative regions of
    ImageScope holes of the region around them.

    Raises:
        InputError: no XML, or of another program, or a vertex without numbers.
    """
    try:
        content = file.read_bytes()
        if b"<!DOCTYPE" in content or b"<!ENTITY" in content:
            raise InputError(f"annotations {file} declare XML entities, which no annotations need; it is not read")
        root = ET.fromstring(content)
    except InputError:
        raise
    except UNREADABLE as error:
        raise InputError(f"annotations {file} can't be read as XML: {error}") from error
    if root.tag not in ROOTS:
        raise InputError(
            f"annotations {file} begin with <{root.tag}>; read are Aperio ImageScope (<Annotations>) and ASAP "
            "(<ASAP_Annotations>); give others as GeoJSON"
        )
    form = ROOTS[root.tag]
    data, notes = _read_imagescope(root, file) if form == "imagescope" else _read_asap(root, file)
    return form, data, notes


def write_xml(path: Path, data: Any, form: str) -> list[str]:
    """Write GeoJSON in ``form``, "imagescope" or "asap"; returns what the form can't hold."""
    shapes, notes = to_shapes(data)
    make = _imagescope if form == "imagescope" else _asap
    root, more = make(shapes, data)
    ET.indent(root)
    path.write_bytes(ET.tostring(root, encoding="utf-8", xml_declaration=True))
    return notes + more


def _positions(parent: ET.Element, tag: str, file: Path, order: str | None = None) -> Ring:
    vertices = list(parent.iter(tag))
    try:
        if order is not None:
            vertices.sort(key=lambda vertex: float(vertex.get(order, "0")))
        places = [[float(vertex.attrib[axis]) for axis in ("X", "Y")] for vertex in vertices]
    except (KeyError, ValueError) as error:
        raise InputError(f"annotations {file}: a {tag} has no numbers X and Y ({error})") from error
    if not all(map(math.isfinite, (number for place in places for number in place))):
        raise InputError(f"annotations {file}: a {tag} has X or Y that is not a finite number")
    return places


def _read_imagescope(root: ET.Element, file: Path) -> tuple[dict[str, Any], list[str]]:
    shapes, lost = [], 0
    for layer in root.iter("Annotation"):
        mine: list[Shape] = []
        holes: list[tuple[Ring, Shape]] = []
        for region in layer.iter("Region"):
            shape = _region(region, layer, file)
            if shape is None:
                lost += 1
            elif region.get("NegativeROA") == "1" and shape.kind == POLYGON:
                holes.append((shape.parts[0][0], shape))
            else:
                mine.append(shape)
        for hole, shape in holes:
            # the hole belongs to the smallest outline around it
            around = [s for s in mine if s.kind == POLYGON and len(nested_rings([s.parts[0][0], hole])) == 1]
            if around:
                min(around, key=lambda s: _box_area(s.parts[0][0])).parts[0].append(hole)
            else:
                mine.append(shape)
        shapes += mine
    if lost and not shapes:
        raise InputError(f"annotations {file} have {lost} regions and none has a Vertex; give them as GeoJSON")
    return to_collection(shapes), [f"{lost} regions have no vertices and are left out"] if lost else []


def _box_area(outline: Ring) -> float:
    left, top, right, bottom = bounds(outline)
    return (right - left) * (bottom - top)


def _region(region: ET.Element, layer: ET.Element, file: Path) -> Shape | None:
    places, kind = _positions(region, "Vertex", file), region.get("Type", "0")
    if not places:
        return None
    color = int(layer.get("LineColor", "-1")) if layer.get("LineColor", "").isdigit() else -1
    known: dict[str, Any] = {
        "name": region.get("Text", ""), "group": layer.get("Name", ""),
        "id": f"{layer.get('Id', '')}.{region.get('Id', '')}".strip("."),
        "color": (color & 255, color >> 8 & 255, color >> 16 & 255) if color >= 0 else None,
        "properties": {"imagescope": {
            "layer": dict(layer.attrib), "region": {k: v for k, v in region.attrib.items() if k not in UNTRUE}
        }},
    }  # fmt: skip
    if len(places) == 1 or kind == PIN:
        return Shape(POINTS, [[places]], **known)
    if kind == ELLIPSE:
        return Shape(POLYGON, [[ellipse(*bounds(places))]], **known)
    if kind == RECTANGLE and len(places) == 2:
        return Shape(POLYGON, [[rectangle(*bounds(places))]], **known)
    if kind in (ARROW, RULER) or len(places) == 2:
        return Shape(LINE, [[places]], **known)
    return Shape(POLYGON, [[ring(places)]], **known)


def _imagescope(shapes: list[Shape], data: Any) -> tuple[ET.Element, list[str]]:
    root = ET.Element("Annotations")
    layers: dict[str, ET.Element] = {}
    number, parts = 0, 0
    for shape in shapes:
        own = shape.properties.get("imagescope")
        own = own if isinstance(own, dict) else {}
        layer = own.get("layer")
        stated: dict[str, str] = layer if isinstance(layer, dict) else {}
        key = f"{stated.get('Id', '')}/{shape.group}"
        if key not in layers:
            layers[key] = _layer(root, len(layers) + 1, shape, stated)
        regions = layers[key]
        parts += len(shape.parts) > 1
        for part in shape.parts:
            for place, positions in enumerate(part):
                number += 1
                hole = place > 0 and shape.kind == POLYGON
                region = _region_attributes(shape, own, number, hole, first=place == 0 and part is shape.parts[0])
                vertices = ET.SubElement(ET.SubElement(regions, "Region", region), "Vertices")
                for x, y in positions[:-1] if shape.kind == POLYGON else positions:
                    ET.SubElement(vertices, "Vertex", {"X": repr(x), "Y": repr(y), "Z": "0"})
    notes = [f"{parts} objects have several parts, which are regions of their own in ImageScope"] if parts else []
    return root, notes


def _layer(root: ET.Element, number: int, shape: Shape, stated: dict[str, str]) -> ET.Element:
    red, green, blue = shape.color or (0, 255, 0)
    attributes = {
        "Name": shape.group, "ReadOnly": "0", "Visible": "1", "Selected": "0", "Type": "4",
        "LineColor": str(red | green << 8 | blue << 16), **{k: str(v) for k, v in stated.items()}, "Id": str(number),
    }  # fmt: skip
    return ET.SubElement(ET.SubElement(root, "Annotation", attributes), "Regions")


def _region_attributes(shape: Shape, own: dict[str, Any], number: int, hole: bool, first: bool) -> dict[str, str]:
    stated = own.get("region") if first and isinstance(own.get("region"), dict) else {}
    kind = {POLYGON: "0", LINE: ARROW, POINTS: PIN}[shape.kind]
    if shape.kind == LINE and len(shape.parts[0][0]) > 2:
        kind = RULER
    return {
        "Zoom": "1", "Selected": "0", "ImageLocation": "", "ImageFocus": "0", "Analyze": "1",
        **{str(k): str(v) for k, v in (stated or {}).items() if k not in UNTRUE},
        "Id": str(number), "DisplayId": str(number), "Type": kind, "Text": shape.name,
        "NegativeROA": "1" if hole else "0",
    }  # fmt: skip


def _read_asap(root: ET.Element, file: Path) -> tuple[dict[str, Any], list[str]]:
    shapes, lost, splines = [], 0, 0
    for annotation in root.iter("Annotation"):
        places, kind = _positions(annotation, "Coordinate", file, "Order"), annotation.get("Type", "Polygon")
        group = annotation.get("PartOfGroup", "None")
        known: dict[str, Any] = {
            "name": annotation.get("Name", ""), "group": "" if group == "None" else group,
            "color": _from_hex(annotation.get("Color", "")), "properties": {"asap": {"Type": kind}},
        }  # fmt: skip
        splines += kind == "Spline"
        if not places:
            lost += 1
        elif kind in ("Dot", "PointSet") or len(places) == 1:
            shapes.append(Shape(POINTS, [[places]], **known))
        elif kind == "Measurement" or len(places) == 2:
            shapes.append(Shape(LINE, [[places]], **known))
        else:
            shapes.append(Shape(POLYGON, [[ring(places)]], **known))
    groups = [{k: v for k, v in group.attrib.items()} for group in root.iter("Group")]
    notes = [f"{lost} annotations have no coordinates and are left out"] if lost else []
    if splines:
        notes.append(f"{splines} splines are read as polygons through their points")
    return to_collection(shapes, asap={"groups": groups}), notes


def _asap(shapes: list[Shape], data: Any) -> tuple[ET.Element, list[str]]:
    root = ET.Element("ASAP_Annotations")
    listed = ET.SubElement(root, "Annotations")
    groups: dict[str, dict[str, str]] = {}
    stated = data.get("asap") if isinstance(data, dict) else None
    for group in (stated or {}).get("groups", []) if isinstance(stated, dict) else []:
        groups[str(group.get("Name", ""))] = {str(k): str(v) for k, v in group.items()}
    holes = parts = lines = 0
    for number, shape in enumerate(shapes):
        color = "#{:02x}{:02x}{:02x}".format(*shape.color) if shape.color else "#F4FA58"
        if shape.group:
            groups.setdefault(shape.group, {"Name": shape.group, "PartOfGroup": "None", "Color": color})
        parts += len(shape.parts) > 1
        lines += shape.kind == LINE and len(shape.parts[0][0]) > 2
        for part in shape.parts:
            for place, positions in enumerate(part):
                hole = place > 0 and shape.kind == POLYGON
                holes += hole
                name = shape.name or f"Annotation {number}"
                own = positions[:-1] if shape.kind == POLYGON else positions
                kind = "Polygon" if shape.kind == POLYGON else "Measurement" if shape.kind == LINE else "PointSet"
                attributes = {
                    "Name": f"{name} (hole {place})" if hole else name, "PartOfGroup": shape.group or "None",
                    "Type": "Dot" if kind == "PointSet" and len(own) == 1 else kind, "Color": color,
                }  # fmt: skip
                coordinates = ET.SubElement(ET.SubElement(listed, "Annotation", attributes), "Coordinates")
                for order, (x, y) in enumerate(own):
                    ET.SubElement(coordinates, "Coordinate", {"Order": str(order), "X": repr(x), "Y": repr(y)})
    above = ET.SubElement(root, "AnnotationGroups")
    for group in groups.values():
        ET.SubElement(ET.SubElement(above, "Group", group), "Attributes")
    ids = sum(bool(shape.id) for shape in shapes)
    told = (
        (holes, "holes are written as polygons of their own, '(hole 1)': ASAP has none"),
        (parts, "objects have several parts, which are annotations of their own in ASAP"),
        (lines, "lines have more than two points, which ASAP may not draw"),
        (ids, "objects have ids, which ASAP does not keep"),
    )
    return root, [f"{count} {what}" for count, what in told if count]


def _from_hex(text: str) -> tuple[int, int, int] | None:
    try:
        red, green, blue = bytes.fromhex(text.removeprefix("#"))
    except ValueError:
        return None
    return red, green, blue
