from __future__ import annotations

import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely

from custom_components.common.errors import InputError
from custom_components.pairs import read_annotations, write_annotations
from custom_components.pairs.annotation_files import holds_annotations, warped_name

DATA = {
    "type": "FeatureCollection",
    "features": [
        {
            "type": "Feature", "id": "7f", "properties": {
                "name": "gland/1", "classification": {"name": "Tumour"}, "color": [255, 0, 10]
            },
            "geometry": {"type": "Polygon", "coordinates": [
                [[0.25, 0], [10, 0], [10, 10], [0.25, 10], [0.25, 0]], [[2, 2], [4, 2], [4, 4], [2, 4], [2, 2]]
            ]},
        },
        {
            "type": "Feature", "properties": {"name": "plain"},
            "geometry": {"type": "Polygon", "coordinates": [[[70000.5, 3], [70010, 3], [70010, 9], [70000.5, 3]]]},
        },
        {
            "type": "Feature", "properties": {"name": "plain"},
            "geometry": {"type": "LineString", "coordinates": [[1.5, 2.5], [3, 4], [8, 9.25]]},
        },
        {"type": "Feature", "properties": {}, "geometry": {"type": "Point", "coordinates": [7.5, 8.25]}},
        {
            "type": "Feature", "properties": {"name": "cells"},
            "geometry": {"type": "MultiPoint", "coordinates": [[1, 2], [3, 4.5]]},
        },
    ],
}  # fmt: skip


def _shapes(data: Any) -> list[Any]:
    return [shapely.geometry.shape(feature["geometry"]) for feature in data["features"]]


def test_regions_come_back_with_holes_names_classes_and_ids(tmp_path: Path) -> None:
    pytest.importorskip("roifile")
    assert write_annotations(tmp_path / "r.zip", DATA, "imagej") == []
    found = read_annotations(tmp_path / "r.zip")
    assert found.form == "imagej"
    for one, other in zip(_shapes(found.data), _shapes(DATA), strict=True):
        assert one.equals_exact(other, 0.005)  # single precision
    first = found.data["features"][0]
    assert first["id"] == "7f"
    assert first["properties"]["classification"] == {"name": "Tumour"}
    assert first["properties"]["color"] == [255, 0, 10]
    assert [feature["properties"].get("name") for feature in found.data["features"]][:3] == [
        "gland/1",
        "plain",
        "plain",
    ]
    with zipfile.ZipFile(tmp_path / "r.zip") as archive:
        assert archive.namelist() == ["gland_1.roi", "plain.roi", "plain-1.roi", "0004.roi", "cells.roi"]


def test_lines_and_points_of_imagej_begin_at_the_centre_and_areas_at_the_corner(tmp_path: Path) -> None:
    roifile = pytest.importorskip("roifile")
    regions = {}
    for name, kind in (("area", "POLYGON"), ("line", "POLYLINE"), ("points", "POINT")):
        roi = roifile.ImagejRoi.frompoints(np.array([[10, 20], [30, 20], [30, 40]]), name=name)
        roi.roitype = roifile.ROI_TYPE[kind]
        regions[name] = roi
    line = roifile.ImagejRoi()
    line.roitype, line.name = roifile.ROI_TYPE.LINE, "straight"
    line.x1, line.y1, line.x2, line.y2 = 1, 2, 3, 4
    roifile.roiwrite(tmp_path / "r.zip", [*regions.values(), line])
    area, polyline, points, straight = _shapes(read_annotations(tmp_path / "r.zip").data)
    assert area.bounds == (10, 20, 30, 40)
    assert polyline.bounds == points.bounds == (10.5, 20.5, 30.5, 40.5)
    assert straight.bounds == (1.5, 2.5, 3.5, 4.5)


def test_rectangles_and_ovals_are_polygons_and_stacks_positions_are_kept(tmp_path: Path) -> None:
    roifile = pytest.importorskip("roifile")
    for kind, area in (("RECT", 200), ("OVAL", np.pi * 50)):
        roi = roifile.ImagejRoi()
        roi.roitype, roi.name, roi.z_position, roi.group = roifile.ROI_TYPE[kind], "r", 3, 2
        roi.left, roi.top, roi.right, roi.bottom = 10, 20, 30, 30
        roi.tofile(tmp_path / f"{kind}.roi")
        found = read_annotations(tmp_path / f"{kind}.roi")
        (shape,) = _shapes(found.data)
        assert shape.bounds == pytest.approx((10, 20, 30, 30))
        assert shape.area == pytest.approx(area, rel=1e-3)
        write_annotations(tmp_path / "again.roi", found.data, "imagej")
        again = roifile.ImagejRoi.fromfile(tmp_path / "again.roi")
        assert (again.z_position, again.group, again.name) == (3, 2, "r")


def test_a_roi_holds_one_region(tmp_path: Path) -> None:
    pytest.importorskip("roifile")
    with pytest.raises(InputError, match=r"holds one region, there are 5; let the result end in \.zip"):
        write_annotations(tmp_path / "r.roi", DATA, "imagej")
    assert not (tmp_path / "r.roi").exists()


def test_a_damaged_region_is_named(tmp_path: Path) -> None:
    pytest.importorskip("roifile")
    (tmp_path / "r.roi").write_bytes(b"Iout" + b"\0" * 10)
    with pytest.raises(InputError, match=r"r\.roi can't be read as a region of ImageJ"):
        read_annotations(tmp_path / "r.roi")


def test_without_its_package_the_line_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "r.roi").write_bytes(b"Iout" + b"\0" * 100)
    monkeypatch.setitem(sys.modules, "roifile", None)
    with pytest.raises(InputError, match=r"r\.roi needs the package roifile, .*pip install warpzoo\[tables\]"):
        read_annotations(tmp_path / "r.roi")


def test_names_of_results_keep_the_form(tmp_path: Path) -> None:
    for name, content in (("r.zip", "a.roi"), ("g.zip", "a.geojson")):
        with zipfile.ZipFile(tmp_path / name, "w") as archive:
            archive.writestr(content, b"")
    assert warped_name(tmp_path / "r.zip") == "warped_r.zip"
    assert warped_name(tmp_path / "g.zip", "warped_fixed_") == "warped_fixed_g.geojson"
    assert [holds_annotations(tmp_path / name) for name in ("r.zip", "g.zip", "a.xml", "a.png")] == [True, False] * 2
    assert warped_name("a.roi") == "warped_a.roi"
    assert warped_name("a.geojson.gz") == "warped_a.geojson"
    assert warped_name("a.xml") == "warped_a.xml"
