from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import shapely

from custom_components.common.errors import InputError
from custom_components.pairs import read_annotations, write_annotations

IMAGESCOPE = """<Annotations MicronsPerPixel="0.25">
 <Annotation Id="1" Name="Tumour" ReadOnly="0" LineColor="65535" Visible="1" Type="4"><Attributes/>
  <Regions><RegionAttributeHeaders/>
   <Region Id="1" Type="0" Area="99" Text="gland" NegativeROA="0"><Vertices>
    <Vertex X="0" Y="0" Z="0"/><Vertex X="10" Y="0" Z="0"/><Vertex X="10" Y="10" Z="0"/><Vertex X="0" Y="10" Z="0"/>
   </Vertices></Region>
   <Region Id="2" Type="0" Text="" NegativeROA="1"><Vertices>
    <Vertex X="2" Y="2"/><Vertex X="4" Y="2"/><Vertex X="4" Y="4"/><Vertex X="2" Y="4"/></Vertices></Region>
   <Region Id="3" Type="2" Text="oval"><Vertices><Vertex X="20" Y="20"/><Vertex X="40" Y="30"/></Vertices></Region>
   <Region Id="4" Type="1" Text="box"><Vertices><Vertex X="50" Y="50"/><Vertex X="60" Y="55"/></Vertices></Region>
   <Region Id="5" Type="0" Text="nothing"><Vertices/></Region>
  </Regions></Annotation>
 <Annotation Id="2" Name="Marks" LineColor="255" Type="4"><Regions>
   <Region Id="1" Type="3" Text="arrow"><Vertices><Vertex X="1" Y="2"/><Vertex X="3" Y="4"/></Vertices></Region>
   <Region Id="2" Type="5" Text="pin"><Vertices><Vertex X="7.5" Y="8.25"/></Vertices></Region>
 </Regions></Annotation>
</Annotations>"""

ASAP = """<?xml version="1.0"?>
<ASAP_Annotations><Annotations>
 <Annotation Name="gland" Type="Polygon" PartOfGroup="Tumour" Color="#f4fa58"><Coordinates>
  <Coordinate Order="1" X="10" Y="0"/><Coordinate Order="0" X="0" Y="0"/><Coordinate Order="2" X="10" Y="10"/>
 </Coordinates></Annotation>
 <Annotation Name="curve" Type="Spline" PartOfGroup="None" Color="#000000"><Coordinates>
  <Coordinate Order="0" X="0" Y="0"/><Coordinate Order="1" X="9" Y="0"/><Coordinate Order="2" X="9" Y="9"/>
 </Coordinates></Annotation>
 <Annotation Name="dot" Type="Dot" PartOfGroup="None" Color="#F4FA58"><Coordinates>
  <Coordinate Order="0" X="1.5" Y="2.5"/></Coordinates></Annotation>
 <Annotation Name="dots" Type="PointSet" PartOfGroup="None" Color="#F4FA58"><Coordinates>
  <Coordinate Order="0" X="1" Y="2"/><Coordinate Order="1" X="3" Y="4"/></Coordinates></Annotation>
 <Annotation Name="length" Type="Measurement" PartOfGroup="None" Color="#F4FA58"><Coordinates>
  <Coordinate Order="0" X="1" Y="2"/><Coordinate Order="1" X="3" Y="4"/></Coordinates></Annotation>
</Annotations><AnnotationGroups>
 <Group Name="Tumour" PartOfGroup="Tissue" Color="#00ff00"><Attributes/></Group>
 <Group Name="Tissue" PartOfGroup="None" Color="#64fe2e"><Attributes/></Group>
</AnnotationGroups></ASAP_Annotations>"""


def _file(folder: Path, text: str) -> Path:
    (folder / "a.xml").write_text(text)
    return folder / "a.xml"


def _facts(data: Any) -> list[tuple[str, str, str, Any]]:
    return [
        (
            f["properties"].get("name", ""), f["properties"].get("classification", {}).get("name", ""),
            f["geometry"]["type"], f["geometry"]["coordinates"],
        )
        for f in data["features"]
    ]  # fmt: skip


def test_imagescopes_layers_holes_and_shapes_are_read(tmp_path: Path) -> None:
    found = read_annotations(_file(tmp_path, IMAGESCOPE))
    assert found.form == "imagescope"
    assert found.notes == ("1 regions have no vertices and are left out",)
    gland, oval, box, arrow, pin = found.data["features"]
    assert shapely.geometry.shape(gland["geometry"]).area == 100 - 4
    assert gland["properties"]["classification"] == {"name": "Tumour"}
    assert gland["properties"]["color"] == [255, 255, 0]
    assert gland["id"] == "1.1"
    assert shapely.geometry.shape(oval["geometry"]).bounds == pytest.approx((20, 20, 40, 30))
    assert shapely.geometry.shape(box["geometry"]).area == 50
    assert arrow["geometry"] == {"type": "LineString", "coordinates": [[1, 2], [3, 4]]}
    assert pin["geometry"] == {"type": "Point", "coordinates": [7.5, 8.25]}
    assert pin["properties"]["color"] == [255, 0, 0]


@pytest.mark.parametrize("text", [IMAGESCOPE, ASAP])
def test_what_is_written_is_read_as_the_same(tmp_path: Path, text: str) -> None:
    first = read_annotations(_file(tmp_path, text))
    write_annotations(tmp_path / "b.xml", first.data, first.form)
    second = read_annotations(tmp_path / "b.xml")
    assert second.form == first.form
    assert _facts(second.data) == _facts(first.data)
    colors = [[feature["properties"].get("color") for feature in found.data["features"]] for found in (first, second)]
    assert colors[0] == colors[1]


def test_measures_that_are_no_longer_true_are_left_out(tmp_path: Path) -> None:
    found = read_annotations(_file(tmp_path, IMAGESCOPE))
    write_annotations(tmp_path / "b.xml", found.data, found.form)
    written = (tmp_path / "b.xml").read_text()
    assert "Area=" not in written
    assert "MicronsPerPixel" not in written


def test_asaps_groups_are_classes_and_their_tree_is_kept(tmp_path: Path) -> None:
    found = read_annotations(_file(tmp_path, ASAP))
    assert [(name, group, kind) for name, group, kind, _ in _facts(found.data)] == [
        ("gland", "Tumour", "Polygon"), ("curve", "", "Polygon"), ("dot", "", "Point"), ("dots", "", "MultiPoint"),
        ("length", "", "LineString"),
    ]  # fmt: skip
    assert _facts(found.data)[0][3] == [[[0, 0], [10, 0], [10, 10], [0, 0]]]
    assert found.notes == ("1 splines are read as polygons through their points",)
    write_annotations(tmp_path / "b.xml", found.data, "asap")
    assert '<Group Name="Tumour" PartOfGroup="Tissue" Color="#00ff00">' in (tmp_path / "b.xml").read_text()


def test_holes_become_polygons_in_asap_and_it_is_told(tmp_path: Path) -> None:
    data = read_annotations(_file(tmp_path, IMAGESCOPE)).data
    notes = write_annotations(tmp_path / "b.xml", data, "asap")
    assert any("1 holes are written as polygons of their own" in note for note in notes)
    assert any("5 objects have ids" in note for note in notes)
    assert [name for name, *_ in _facts(read_annotations(tmp_path / "b.xml").data)][:2] == ["gland", "gland (hole 1)"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<Annotations>", "can't be read as XML"),
        (
            '<Annotations><Annotation><Regions><Region Type="Polygon"/></Regions></Annotation></Annotations>',
            "none has a Vertex",
        ),
        ("<svg/>", r"begin with <svg>; read are Aperio ImageScope \(<Annotations>\) and ASAP"),
        ('<!DOCTYPE a [<!ENTITY x "y">]><Annotations/>', "declare XML entities"),
        (IMAGESCOPE.replace('X="50"', 'X="left"'), "a Vertex has no numbers X and Y"),
        (IMAGESCOPE.replace('X="50"', 'X="inf"'), "not a finite number"),
        (ASAP.replace(' Y="2.5"', ""), "a Coordinate has no numbers X and Y"),
    ],
)
def test_other_xml_is_refused_by_name(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        read_annotations(_file(tmp_path, text))
    assert "a.xml" in str(caught.value)
