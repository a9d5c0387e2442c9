"""GeoParquet with outlines, written here as version 1.1 of the form says: read as GeoJSON, carried, kept."""

from __future__ import annotations

import datetime
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely

from custom_components.annotations import Convention, PointMap, warp_geojson_file
from custom_components.common.errors import InputError
from custom_components.fields import Grid, displacement_image, index_to_physical
from custom_components.pairs import holds_annotations, read_annotations, warped_name, write_annotations

pa = pytest.importorskip("pyarrow", reason="the package pyarrow is not installed")
torch = pytest.importorskip("torch")
parquet = pytest.importorskip("pyarrow.parquet")

HOLE = shapely.box(10, 20, 50, 40, ccw=True).difference(shapely.box(20, 25, 30, 30))
SHAPES = [
    HOLE,
    shapely.MultiPolygon([shapely.box(1, 2, 3, 4), shapely.box(60, 60, 70, 80)]),
    shapely.Point(5, 6, 7),
    None,
]
DAY = datetime.date(2024, 5, 1)


def write(file: Path, shapes: list[Any] = SHAPES, **column: Any) -> Path:
    rows = {
        "name": pa.array([f"cell {n}" for n in range(len(shapes))]).dictionary_encode(),
        "area": pa.array(np.arange(len(shapes), dtype=np.float32)),
        "geometry": pa.array([None if shape is None else shapely.to_wkb(shape, flavor="iso") for shape in shapes]),
        "bbox": pa.array([{"xmin": 0.0, "ymin": 0.0, "xmax": 9.0, "ymax": 9.0}] * len(shapes)),
        "day": pa.array([DAY] * len(shapes)),
    }
    path = {side: ["bbox", side] for side in ("xmin", "ymin", "xmax", "ymax")}
    described = {
        "encoding": "WKB", "geometry_types": sorted({shape.geom_type for shape in shapes if shape is not None}),
        "crs": None, "bbox": [0, 0, 9, 9], "covering": {"bbox": path}, **column,
    }  # fmt: skip
    geo = {"version": "1.1.0", "primary_column": "geometry", "columns": {"geometry": described}}
    table = pa.table(rows).replace_schema_metadata({b"geo": json.dumps(geo).encode(), b"mine": b"kept"})
    parquet.write_table(table, file)
    return file


@pytest.fixture
def way() -> PointMap:
    """Pixel (r, c) of the source is where (2 r, 2 c) of the target is."""
    rows, columns = np.indices((100, 100))
    ddf = torch.from_numpy(np.stack([rows, columns])[None].astype(float))
    plain = index_to_physical([1.0, 1.0])
    return PointMap(displacement_image(ddf, plain, plain), Grid.of_pixels((100, 100)), Grid.of_pixels((200, 200)))


def test_rows_are_features_with_the_other_columns_as_properties(tmp_path) -> None:
    found = read_annotations(write(tmp_path / "a.parquet"))
    assert found.form == "geoparquet"
    features = found.data["features"]
    assert [feature["properties"] for feature in features] == [
        {"name": f"cell {n}", "area": float(n), "day": "2024-05-01"} for n in range(4)
    ]
    assert features[3]["geometry"] is None
    for shape, feature in zip(SHAPES[:3], features, strict=False):
        assert shapely.equals(shapely.from_geojson(json.dumps(feature["geometry"])), shape)


def test_what_is_written_unchanged_is_the_same_but_for_the_boxes(tmp_path) -> None:
    read = read_annotations(write(tmp_path / "a.parquet"))
    assert write_annotations(tmp_path / "b.parquet", read.data, read.form, read.table) == []
    before, after = (parquet.read_table(tmp_path / name) for name in ("a.parquet", "b.parquet"))
    assert after.column_names == ["name", "area", "geometry", "day"]
    for name in ("name", "area", "day"):
        assert after.column(name).equals(before.column(name))
        assert after.schema.field(name).type == before.schema.field(name).type
    pairs = zip(after["geometry"].to_pylist(), SHAPES, strict=True)
    assert all(
        shape is None if text is None else shapely.equals(shapely.from_wkb(text), shape) for text, shape in pairs
    )
    assert shapely.get_coordinates(shapely.from_wkb(after["geometry"][2].as_py()), include_z=True).tolist() == [
        [5, 6, 7]
    ]
    geo = json.loads(after.schema.metadata[b"geo"])["columns"]["geometry"]
    assert after.schema.metadata[b"mine"] == b"kept"
    assert geo.keys() == {"encoding", "geometry_types", "crs"}


def test_outlines_are_carried_from_the_outer_corner(tmp_path, way) -> None:
    notes = warp_geojson_file(
        write(tmp_path / "a.parquet"), tmp_path / "b.parquet", way, Convention(None, None, None, None)
    )
    found = shapely.from_wkb(np.array(parquet.read_table(tmp_path / "b.parquet")["geometry"].to_pylist(), dtype=object))
    # centres double, so that corners, half a pixel before, do (x - 0.5) 2 + 0.5
    for carried, shape in zip(found[:3], SHAPES, strict=False):
        wanted = shapely.transform(shape, lambda points: (points - 0.5) * 2 + 0.5)
        assert carried.symmetric_difference(wanted).area < 1e-2
        assert carried.distance(wanted) < 1e-2
    assert found[3] is None
    assert not any("don't fit" in note for note in notes)


def test_geojson_of_them_is_written_where_the_output_asks_for_it(tmp_path, way) -> None:
    given = write(tmp_path / "a.parquet")
    warp_geojson_file(given, tmp_path / "b.geojson", way, Convention(None, None, None, None))
    features = read_annotations(tmp_path / "b.geojson").data["features"]
    assert [feature["properties"]["name"] for feature in features] == [f"cell {n}" for n in range(4)]


def test_outlines_are_told_from_points_and_keep_their_name(tmp_path) -> None:
    assert holds_annotations(write(tmp_path / "a.parquet"))
    assert not holds_annotations(write(tmp_path / "p.parquet", [shapely.Point(1, 2)]))
    parquet.write_table(pa.table({"X": [1.0], "Y": [2.0]}), tmp_path / "t.parquet")
    assert not holds_annotations(tmp_path / "t.parquet")
    assert warped_name(tmp_path / "a.parquet") == "warped_a.parquet"


def test_what_cannot_be_read_or_written_is_told_with_the_way_out(tmp_path) -> None:
    parquet.write_table(pa.table({"X": [1.0], "Y": [2.0]}), tmp_path / "t.parquet")
    with pytest.raises(InputError, match=r"t\.parquet is no GeoParquet: .* give points to --points"):
        read_annotations(tmp_path / "t.parquet")
    with pytest.raises(InputError, match="has its geometries as 'polygon'; write them as WKB"):
        read_annotations(write(tmp_path / "a.parquet", encoding="polygon"))
    (tmp_path / "d.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(InputError, match=r"d\.parquet can't be read as Parquet"):
        read_annotations(tmp_path / "d.parquet")
    with pytest.raises(InputError, match=r"is written of annotations that were read from it; name it \.geojson"):
        write_annotations(tmp_path / "o.parquet", {"type": "FeatureCollection", "features": []})
