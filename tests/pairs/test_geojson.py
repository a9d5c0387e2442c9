from __future__ import annotations

import gc
import gzip
import json
import zipfile
from pathlib import Path

import pytest

from custom_components.common.errors import InputError
from custom_components.pairs import geojson_stem, read_geojson, write_geojson

DATA = [{"type": "Feature", "geometry": {"type": "Point", "coordinates": [1, 2]}, "properties": {"n": "µ"}}]


@pytest.mark.parametrize("name", ["a.geojson", "a.json", "a.geojson.gz", "a.geojson.zip", "a.zip"])
def test_files_go_round(tmp_path: Path, name: str) -> None:
    write_geojson(tmp_path / name, DATA)
    assert read_geojson(tmp_path / name) == DATA
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_packed_files_are_what_their_names_say(tmp_path: Path) -> None:
    """As QuPath packs them: one entry with the archive's name."""
    write_geojson(tmp_path / "marks.zip", DATA)
    write_geojson(tmp_path / "marks.geojson.gz", DATA)
    with zipfile.ZipFile(tmp_path / "marks.zip") as archive:
        assert archive.namelist() == ["marks.geojson"]
        assert json.loads(archive.read("marks.geojson")) == DATA
    assert json.loads(gzip.decompress((tmp_path / "marks.geojson.gz").read_bytes())) == DATA


def test_a_mark_of_the_encoding_is_no_content(tmp_path: Path) -> None:
    (tmp_path / "b.geojson").write_text(json.dumps(DATA), encoding="utf-8-sig")
    assert read_geojson(tmp_path / "b.geojson") == DATA


def test_measurements_that_are_no_numbers_survive(tmp_path: Path) -> None:
    """QuPath before 0.4 wrote them bare, later versions in quotes."""
    (tmp_path / "a.geojson").write_text('{"type": "Feature", "properties": {"m": NaN, "n": "NaN"}}')
    write_geojson(tmp_path / "b.geojson", read_geojson(tmp_path / "a.geojson"))
    assert '"m": NaN, "n": "NaN"' in (tmp_path / "b.geojson").read_text()


@pytest.mark.parametrize("name", ["m.x.geojson", "m.x.json", "m.x.geojson.gz", "m.x.GeoJSON.zip", "m.x.zip", "m.x"])
def test_stem_has_none_of_qupaths_suffixes(name: str) -> None:
    assert geojson_stem(Path("folder") / name) == "m.x"


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"{", "can't be read"), (b"\xff\xfe\x00", "can't be read"), (b"3", "are not GeoJSON")],
)
def test_wrong_files_are_refused(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "a.geojson"
    with pytest.raises(InputError, match=r"a\.geojson do not exist"):
        read_geojson(path)
    path.write_bytes(content)
    with pytest.raises(InputError, match=message):
        read_geojson(path)


@pytest.mark.parametrize("cut", [0, 5, 30])
@pytest.mark.parametrize("name", ["a.geojson.gz", "a.zip"])
def test_packed_files_that_end_too_early_are_refused_and_python_goes_on_collecting(
    tmp_path: Path, name: str, cut: int
) -> None:
    write_geojson(tmp_path / name, DATA)
    (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:cut])
    with pytest.raises(InputError, match=r"can't be read"):
        read_geojson(tmp_path / name)
    assert gc.isenabled()


@pytest.mark.parametrize("names", [[], ["a.geojson", "b.json"], ["a.txt"]])
def test_a_zip_file_holds_one(tmp_path: Path, names: list[str]) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for name in names:
            archive.writestr(name, "[]")
    found = len([name for name in names if not name.endswith("txt")])
    with pytest.raises(InputError, match=f"one GeoJSON file is wanted, it holds {found}"):
        read_geojson(tmp_path / "a.zip")
