from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from custom_components.annotations import Convention, PointMap, warp_geojson_file, warp_points_file
from custom_components.common.errors import InputError
from custom_components.fields import Grid, displacement_image, index_to_physical
from custom_components.pairs import read_geojson, read_point_table, write_geojson

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
