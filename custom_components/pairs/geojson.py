"""GeoJSON files as QuPath writes them: plain, gzipped or zipped."""

from __future__ import annotations

import gc
import gzip
import json
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from custom_components.common.errors import InputError
from custom_components.common.limits import check_unpacked, unpacked_limit
from custom_components.pairs.atomic import atomic_path
from custom_components.pairs.unreadable import readable

PACKED = (".gz", ".zip")
PLAIN = (".geojson", ".json")


def geojson_stem(path: str | Path) -> str:
    """The file's name without the suffixes that QuPath gives: "marks" of ``marks.geojson.gz``."""
    name = Path(path).name
    for suffixes in (PACKED, PLAIN):
        name = next((name[: -len(end)] for end in suffixes if name.lower().endswith(end)), name)
    return name


def read_geojson(path: str | Path) -> Any:
    """The parsed file: a FeatureCollection, a Feature, a geometry, or QuPath's bare list of features.

    Args:
        path: plain, or packed with the suffix ``.gz`` or ``.zip``; a zip file holds one GeoJSON file.

    Raises:
        InputError: no such file, not readable, no JSON, or no GeoJSON.
    """
    file = Path(path)
    if not file.is_file():
        raise InputError(f"annotations {file} do not exist")
    with readable(file, "annotations"), without_collection():
        data = json.loads(_unpacked(file).decode("utf-8-sig"))
    if not isinstance(data, list) and not (isinstance(data, dict) and "type" in data):
        raise InputError(f"annotations {file} are not GeoJSON: neither a list of features nor an object with a type")
    return data


def write_geojson(path: str | Path, data: Any) -> None:
    """Write GeoJSON, whole or not at all; packed when the name ends in ``.gz`` or ``.zip``.

    Raises:
        InputError: the file can't be written.
    """
    text = json.dumps(data).encode("utf-8")
    suffix = Path(path).suffix.lower()
    with atomic_path(path) as partial:
        if suffix == ".gz":
            with gzip.open(partial, "wb") as stream:
                stream.write(text)
        elif suffix == ".zip":
            with zipfile.ZipFile(partial, "w", zipfile.ZIP_DEFLATED) as archive:
                archive.writestr(f"{geojson_stem(path)}.geojson", text)
        else:
            partial.write_bytes(text)


def _unpacked(file: Path) -> bytes:
    suffix = file.suffix.lower()
    if suffix == ".gz":
        limit = unpacked_limit(file)
        with gzip.open(file) as stream:
            content = stream.read(limit + 1)
        check_unpacked(file, len(content), "annotations")
        return content
    if suffix == ".zip":
        with zipfile.ZipFile(file) as archive:
            names = [name for name in archive.namelist() if name.lower().endswith(PLAIN)]
            if len(names) != 1:
                raise ValueError(f"a zip file with one GeoJSON file is wanted, it holds {len(names)}")
            check_unpacked(file, archive.getinfo(names[0]).file_size, "annotations")
            return archive.read(names[0])
    return file.read_bytes()


@contextmanager
def without_collection() -> Iterator[None]:
    """Python's search for cycles off: among millions of small lists it takes ten times as long as reading them."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
