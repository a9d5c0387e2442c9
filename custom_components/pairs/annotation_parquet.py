"""Outlines in GeoParquet, as geopandas and others write them, as GeoJSON and back; a row becomes a feature."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from custom_components.common.errors import InputError
from custom_components.pairs.sheets import optional_package, read_parquet

SUFFIXES = (".parquet", ".geoparquet")
WHAT = "annotations"


def holds_outlines(file: Path) -> bool:
    """Whether a Parquet file has a column of geometries that are not all points; False without pyarrow."""
    try:
        parquet = optional_package("pyarrow.parquet", file, WHAT)
        geo = json.loads((parquet.read_schema(file).metadata or {}).get(b"geo", b"{}"))
    except (InputError, OSError, ValueError):
        return False
    main = geo.get("columns", {}).get(geo.get("primary_column", "geometry"))
    return main is not None and set(main.get("geometry_types", [])) != {"Point"}


def read_geoparquet(file: Path) -> tuple[dict[str, Any], Any]:
    """(FeatureCollection, Arrow table) of a file; properties are the other columns, as far as JSON can hold them.

    Raises:
        InputError: pyarrow is missing, the file is damaged, or it has no geometries as WKB.
    """
    import shapely

    table = read_parquet(file, WHAT)
    name = _geometry_column(file, table)
    try:
        shapes = shapely.from_wkb(np.array(table.column(name).to_pylist(), dtype=object))
    except (shapely.errors.ShapelyError, TypeError) as error:
        raise InputError(f"{WHAT} {file}: column '{name}' holds no geometries as WKB") from error
    others = table.drop_columns([name, *_boxes(table)]).to_pylist()
    features = [
        {
            "type": "Feature",
            "geometry": None if shape is None else json.loads(shapely.to_geojson(shape)),
            "properties": json.loads(json.dumps(row, default=str)),
        }
        for shape, row in zip(shapes, others or [{}] * len(shapes), strict=True)
    ]
    return {"type": "FeatureCollection", "features": features}, table


def write_geoparquet(path: Path, data: Any, table: Any) -> None:
    """The table with the geometries of a FeatureCollection, one a row, in place of its own; all else is kept.

    But for bounding boxes, which are those of the outlines before.

    Args:
        path: to write.
        data: FeatureCollection whose features are the rows of ``table``, in their order.
        table: Arrow table, see ``read_geoparquet``.

    Raises:
        InputError: ``data`` has other rows than the table.
    """
    import shapely

    arrow, parquet = (optional_package(name, path, WHAT) for name in ("pyarrow", "pyarrow.parquet"))
    name, boxes = _geometry_column(path, table), _boxes(table)
    features = data["features"]
    if len(features) != table.num_rows:
        raise InputError(f"{path}: {len(features)} outlines don't fit the {table.num_rows} rows of the table")
    texts = [None if feature["geometry"] is None else json.dumps(feature["geometry"]) for feature in features]
    known = shapely.to_wkb(shapely.from_geojson(np.array(texts, dtype=object)), flavor="iso")
    place = table.schema.get_field_index(name)
    table = table.set_column(place, table.schema.field(place).with_type(arrow.binary()), [list(known)])
    geo = json.loads(table.schema.metadata[b"geo"])
    for column in geo["columns"].values():
        column.pop("bbox", None)
        column.pop("covering", None)
    metadata = {**table.schema.metadata, b"geo": json.dumps(geo).encode()}
    parquet.write_table(table.drop_columns(boxes).replace_schema_metadata(metadata), path)


def _geo(table: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((table.schema.metadata or {}).get(b"geo", b"{}"))
    return found


def _geometry_column(file: Path, table: Any) -> str:
    geo = _geo(table)
    name = str(geo.get("primary_column", "geometry"))
    if name not in geo.get("columns", {}) or name not in table.column_names:
        raise InputError(f"{WHAT} {file} is no GeoParquet: it states no column of geometries; give points to --points")
    encoding = geo["columns"][name].get("encoding")
    if encoding != "WKB":
        raise InputError(f"{WHAT} {file} has its geometries as '{encoding}'; write them as WKB")
    return name


def _boxes(table: Any) -> list[str]:
    """Columns with the bounding boxes of the geometries."""
    coverings = [column.get("covering", {}).get("bbox", {}) for column in _geo(table).get("columns", {}).values()]
    found = {str(path[0]) for covering in coverings for path in covering.values()}
    return [name for name in table.column_names if name in found]
