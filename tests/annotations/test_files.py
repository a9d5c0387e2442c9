from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from custom_components.annotations import Convention, PointMap, warp_geojson_file, warp_points_file
from custom_components.common.errors import InputError
from custom_components.fields import Grid, displacement_image, index_to_physical
from custom_components.pairs import (
    read_annotations,
    read_geojson,
    read_point_table,
    write_annotations,
    write_geojson,
)

PLAIN = index_to_physical([1.0, 1.0])
SIZES = {"source_size": (0.5, 0.5), "target_size": (0.25, 0.25)}


@pytest.fixture
def way() -> PointMap:
    """Twice as large: pixel (r, c) of the source is where (2 r, 2 c) of the target is."""
    rows, columns = np.indices((100, 100))
    ddf = torch.from_numpy(np.stack([rows, columns])[None].astype(float))
    return PointMap(displacement_image(ddf, PLAIN, PLAIN), Grid.of_pixels((100, 100)), Grid.of_pixels((200, 200)))


def _carry_points(folder: Path, way: PointMap, text: str, **convention: Any) -> str:
    (folder / "in.csv").write_text(text, encoding="utf-8")
    warp_points_file(folder / "in.csv", folder / "out.csv", way, Convention(**SIZES, **convention))
    return (folder / "out.csv").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("text", "convention", "expected"),
    [
        ("X,Y\n10,20\n", {}, "X,Y\n20.0,40.0\n"),
        ("X,Y\n10,20\n", {"origin": "corner"}, "X,Y\n19.5,39.5\n"),
        ("X,Y\n5,10\n", {"unit": "micrometre"}, "X,Y\n5.0,10.0\n"),
        ("x_px,y_px\n10,20\n", {"unit": "pixel"}, "x_px,y_px\n20.0,40.0\n"),
        ("Centroid X px,Centroid Y px\n10,20\n", {}, "Centroid X px,Centroid Y px\n19.5,39.5\n"),
        ("Centroid X px,Centroid Y px\n10,20\n", {"origin": "centre"}, "Centroid X px,Centroid Y px\n20.0,40.0\n"),
        # 5 µm are 10 pixels from the corner, 9.5 as a centre; 19 there, 19.5 from the corner, 4.875 µm
        ("Centroid X µm,Centroid Y µm\n5,5\n", {}, "Centroid X µm,Centroid Y µm\n4.875,4.875\n"),
    ],
)
def test_points_keep_unit_and_origin_of_their_file(
    tmp_path: Path, way: PointMap, text: str, convention: dict[str, Any], expected: str
) -> None:
    assert _carry_points(tmp_path, way, text, **convention) == expected


def test_other_columns_stay_as_they_are(tmp_path: Path, way: PointMap) -> None:
    text = "id;X;class;Y;score\n007;10;Tumour;20;0.50\n"
    assert _carry_points(tmp_path, way, text) == "id;X;class;Y;score\n007;20.0;Tumour;40.0;0.50\n"


def test_unit_that_contradicts_the_columns_is_refused(tmp_path: Path, way: PointMap) -> None:
    text = "Centroid X µm,Centroid Y µm\n5,5\n"
    with pytest.raises(InputError, match=r"in\.csv has Centroid X µm and Centroid Y µm, but --unit says pixel"):
        _carry_points(tmp_path, way, text, unit="pixel")


@pytest.mark.parametrize(("absent", "side"), [("source_size", "moving"), ("target_size", "fixed")])
def test_micrometres_are_refused_where_either_image_has_no_pixel_size(
    tmp_path: Path, way: PointMap, absent: str, side: str
) -> None:
    (tmp_path / "in.csv").write_text("X,Y\n1,2\n")
    convention = Convention("micrometre", **{**SIZES, absent: None})
    with pytest.raises(InputError, match=f"the file of the {side} image states no pixel size"):
        warp_points_file(tmp_path / "in.csv", tmp_path / "out.csv", way, convention)
    assert not (tmp_path / "out.csv").exists()


@pytest.mark.parametrize(
    ("text", "convention", "expected"),
    [
        ("X;Y\n10,5;20\n;\n", {}, "X;Y\n21,0;40,0\n;\n"),
        ("axis-0,axis-1\n20,10\n", {}, "axis-0,axis-1\n40.0,20.0\n"),
        ("pxl_row_in_fullres,pxl_col_in_fullres\n20,10\n", {}, "pxl_row_in_fullres,pxl_col_in_fullres\n40.0,20.0\n"),
        ("x_centroid,y_centroid\n5,10\n", {}, "x_centroid,y_centroid\n5.0,10.0\n"),
        # Xenium's names say no unit, so that the user may
        ("x_centroid,y_centroid\n5,10\n", {"unit": "pixel"}, "x_centroid,y_centroid\n10.0,20.0\n"),
        (" ,Area,X,Y\n1,9,10,20\n", {"unit": "pixel"}, " ,Area,X,Y\n1,9,20.0,40.0\n"),
        (" ,Area,X,Y\n1,9,5,10\n", {"unit": "micrometre"}, " ,Area,X,Y\n1,9,5.0,10.0\n"),
    ],
)
def test_each_dialect_is_carried_in_its_own_form(
    tmp_path: Path, way: PointMap, text: str, convention: dict[str, Any], expected: str
) -> None:
    assert _carry_points(tmp_path, way, text, **convention) == expected


@pytest.mark.parametrize("text", [" ,Area,X,Y\n1,9,10,20\n", "Pt-0,true,10,20,5,6\n"])
def test_a_unit_that_only_the_user_knows_is_asked_for(tmp_path: Path, way: PointMap, text: str) -> None:
    with pytest.raises(
        InputError, match=r"moving image states pixels of 0.5 x 0.5 µm: say --unit micrometre if it was"
    ):
        _carry_points(tmp_path, way, text)
    (note,) = warp_points_file(tmp_path / "in.csv", tmp_path / "out.csv", way, Convention())
    assert "read as pixels; if the image was calibrated there, say --unit micrometre" in note


def test_of_bigwarps_landmarks_those_of_the_source_image_are_carried(tmp_path: Path, way: PointMap) -> None:
    (tmp_path / "in.csv").write_text("Pt-0,true,10,20,5,6\n")
    for source, expected in (("moving", "20.0,40.0,5,6"), ("fixed", "10,20,10.0,12.0")):
        warp_points_file(tmp_path / "in.csv", tmp_path / "out.csv", replace(way, source=source), Convention())
        assert (tmp_path / "out.csv").read_text() == f"Pt-0,true,{expected}\n"


def test_rows_without_a_point_are_told_and_keep_their_places(tmp_path: Path, way: PointMap) -> None:
    (tmp_path / "in.tsv").write_text("X\tY\n10\t20\nNaN\tNaN\n\n11\t21\n")
    notes = warp_points_file(tmp_path / "in.tsv", tmp_path / "out.tsv", way, Convention())
    assert (tmp_path / "out.tsv").read_text() == "X\tY\n20.0\t40.0\nNaN\tNaN\n\t\n22.0\t42.0\n"
    assert notes == ["in.tsv: 2 of 4 rows hold no point (the first is row 3); they keep their places"]


ASAP = (
    '<ASAP_Annotations><Annotations><Annotation Name="a" Type="Polygon" PartOfGroup="T" Color="#00ff00"><Coordinates>'
    '<Coordinate Order="0" X="10" Y="10"/><Coordinate Order="1" X="20" Y="10"/><Coordinate Order="2" X="20" Y="30"/>'
    "</Coordinates></Annotation></Annotations></ASAP_Annotations>"
)


@pytest.mark.parametrize(("output", "form"), [("out.xml", "asap"), ("out.geojson", "geojson")])
def test_other_annotations_are_carried_in_the_form_of_the_result(
    tmp_path: Path, way: PointMap, output: str, form: str
) -> None:
    (tmp_path / "in.xml").write_text(ASAP)
    assert warp_geojson_file(tmp_path / "in.xml", tmp_path / output, way, Convention()) == []
    found = read_annotations(tmp_path / output)
    (feature,) = found.data["features"]
    assert found.form == form
    assert feature["geometry"]["coordinates"] == [[[19.5, 19.5], [39.5, 19.5], [39.5, 59.5], [19.5, 19.5]]]
    assert (feature["properties"]["name"], feature["properties"]["classification"]) == ("a", {"name": "T"})


def test_regions_of_imagej_are_carried_as_such(tmp_path: Path, way: PointMap) -> None:
    pytest.importorskip("roifile")
    write_annotations(tmp_path / "in.roi", {"type": "Point", "coordinates": [10, 20]})
    assert warp_geojson_file(tmp_path / "in.roi", tmp_path / "out.roi", way, Convention()) == []
    (feature,) = read_annotations(tmp_path / "out.roi").data["features"]
    assert feature["geometry"] == {"type": "Point", "coordinates": [19.5, 39.5]}


def test_unknown_origin_is_refused(tmp_path: Path, way: PointMap) -> None:
    with pytest.raises(InputError, match="--origin is corner or centre, got 'top'"):
        _carry_points(tmp_path, way, "X,Y\n1,2\n", origin="top")


@pytest.mark.parametrize("name", ["marks.geojson", "marks.geojson.gz", "marks.zip"])
@pytest.mark.parametrize(
    ("convention", "expected"),
    [
        ({}, [19.5, 39.5]),
        ({"origin": "centre"}, [20, 40]),
        ({"unit": "micrometre", "origin": "centre"}, [10, 20]),
    ],
)
def test_geojson_is_pixels_from_the_corner_unless_told_otherwise(
    tmp_path: Path, way: PointMap, name: str, convention: dict[str, Any], expected: list[float]
) -> None:
    write_geojson(tmp_path / name, {"type": "Point", "coordinates": [10, 20]})
    notes = warp_geojson_file(tmp_path / name, tmp_path / f"out_{name}", way, Convention(**convention, **SIZES))
    assert notes == []
    assert read_geojson(tmp_path / f"out_{name}") == {"type": "Point", "coordinates": expected}


def test_points_beyond_an_image_are_told(tmp_path: Path, way: PointMap) -> None:
    (tmp_path / "in.csv").write_text("X,Y\n1,2\n150,2\n")
    notes = warp_points_file(tmp_path / "in.csv", tmp_path / "out.csv", way, Convention())
    assert notes[0].startswith("1 of 2 points reach beyond the moving image (100 x 100 pixels): are they of this image")
    assert len(read_point_table(tmp_path / "out.csv").points()) == 2
