"""Damaged and lying TIFFs, pictures and arrays: named, at once, and read as far as the user asks for that."""

from __future__ import annotations

import io
import os
import struct
import time
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from custom_components.common.errors import InputError
from custom_components.common.limits import applied
from custom_components.pairs import open_slide, read_annotations, read_image, read_landmarks

COLOUR = np.random.default_rng(0).integers(1, 250, (200, 160, 3), dtype=np.uint8)


def refused_at_once(file: Path, match: str, read=read_image) -> None:
    start = time.process_time()
    with pytest.raises(InputError, match=match):
        read(file)
    assert time.process_time() - start < 1


def png(width: int, height: int) -> bytes:
    """A PNG that states a size and holds a single row."""
    parts = b"\x89PNG\r\n\x1a\n"
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    for kind, data in ((b"IHDR", head), (b"IDAT", zlib.compress(b"\0"))):
        parts += struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    return parts


def test_bombs_are_refused_by_their_headers(tmp_path) -> None:
    (tmp_path / "a.png").write_bytes(png(100_000, 100_000))
    refused_at_once(tmp_path / "a.png", r"a\.png states 100000 x 100000 pixels of 3 channels, 30 GB, and has")
    jpeg = io.BytesIO()
    Image.fromarray(COLOUR).save(jpeg, "JPEG")
    size = jpeg.getvalue().index(b"\xff\xc0") + 5
    (tmp_path / "a.jpg").write_bytes(jpeg.getvalue()[:size] + b"\xff\xdc\xff\xdc" + jpeg.getvalue()[size + 4 :])
    refused_at_once(tmp_path / "a.jpg", r"a\.jpg states 65500 x 65500 pixels")
    np.save(tmp_path / "a.npy", COLOUR)
    text = (tmp_path / "a.npy").read_bytes().replace(b"(200, 160, 3), }    ", b"(9999999, 99999, 3)}")
    (tmp_path / "a.npy").write_bytes(text)
    refused_at_once(tmp_path / "a.npy", r"a\.npy")


@pytest.mark.parametrize("compression", [None, "zlib", "zstd"])
def test_tiffs_that_state_more_than_they_hold(tmp_path, compression) -> None:
    tifffile.imwrite(tmp_path / "a.tif", COLOUR, compression=compression)
    data = bytearray((tmp_path / "a.tif").read_bytes())
    with tifffile.TiffFile(tmp_path / "a.tif") as tiff:
        for name in ("ImageWidth", "ImageLength"):
            tag = tiff.pages.first.tags[name]
            struct.pack_into("<I", data, tag.valueoffset, 90_000)
    (tmp_path / "b.tif").write_bytes(data)
    refused_at_once(tmp_path / "b.tif", r"b\.tif")


def test_gzips_and_zips_that_unpack_without_end(tmp_path) -> None:
    packing = zlib.compressobj(9, zlib.DEFLATED, 31)
    block = b" " * (1 << 20)
    content = b"".join(packing.compress(block) for _ in range(70)) + packing.flush()
    for name, read in (("a.geojson.gz", read_annotations), ("a.csv.gz", read_landmarks)):
        (tmp_path / name).write_bytes(content)
        refused_at_once(tmp_path / name, rf"{name} unpacks? to over 64 MiB", read)
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.geojson", block * 70)
    refused_at_once(tmp_path / "a.zip", r"a\.zip unpacks to over 64 MiB", read_annotations)


def test_a_parquet_of_one_value_repeated_is_refused(tmp_path) -> None:
    arrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    column = arrow.DictionaryArray.from_arrays(arrow.array(np.zeros(9_000_000, dtype=np.int8)), arrow.array([1.5]))
    parquet.write_table(arrow.table({"X": column, "Y": column}), tmp_path / "a.parquet")
    refused_at_once(tmp_path / "a.parquet", r"a\.parquet unpacks to over", read_landmarks)


def test_an_ome_tiff_that_is_cut_off_has_not_fewer_channels(tmp_path) -> None:
    tifffile.imwrite(tmp_path / "a.ome.tif", COLOUR.transpose(2, 0, 1), metadata={"axes": "CYX"})
    assert read_image(tmp_path / "a.ome.tif").shape == (3, 200, 160)
    for share in (0.4, 0.7, 0.95):
        content = (tmp_path / "a.ome.tif").read_bytes()
        (tmp_path / "b.ome.tif").write_bytes(content[: int(len(content) * share)])
        refused_at_once(tmp_path / "b.ome.tif", r"b\.ome\.tif can't be read, it may be damaged or cut off")


def test_an_ome_tiff_reads_no_other_file(tmp_path) -> None:
    (tmp_path / "in").mkdir()
    tifffile.imwrite(tmp_path / "other.tif", COLOUR[..., 0])
    xml = tifffile.OmeXml()
    xml.addimage("uint8", (200, 160), (1, 1, 1, 200, 160, 1), axes="YX")
    text = xml.tostring().replace("<TiffData ", '<TiffData FirstC="0" FirstT="0" FirstZ="0" ', 1)
    text = text.replace('PlaneCount="1"/>', 'PlaneCount="1"><UUID FileName="../other.tif">urn:uuid:1</UUID></TiffData>')
    assert "other.tif" in text
    tifffile.imwrite(tmp_path / "in" / "a.ome.tif", np.zeros((200, 160), np.uint8), description=text, metadata=None)
    image = read_image(tmp_path / "in" / "a.ome.tif")
    assert not image.numpy().any()
    assert image.meta["notes"] == ("a.ome.tif names further files for its pages (../other.tif), which are not read",)


@pytest.fixture
def slide(tmp_path) -> Path:
    """Tiles of 64 x 64 pixels, of which that of rows and columns 64 to 127 is damaged."""
    file = tmp_path / "a.tif"
    tifffile.imwrite(file, COLOUR, tile=(64, 64), compression="jpeg", photometric="rgb")
    with tifffile.TiffFile(file) as tiff:
        place = tiff.pages.first.dataoffsets[4]
    with file.open("r+b") as stream:
        stream.seek(place)
        stream.write(bytes(40))
    return file


def test_a_damaged_tile_is_named(slide) -> None:
    told = r"a\.tif can't be read, .* cut off: rows 64 to 127, columns 64 to 127 of 160 x 200 pixels \(.*\); --fill"
    with pytest.raises(InputError, match=told):
        read_image(slide)
    with open_slide(slide) as opened:
        assert opened.read(0, 0, 0, 60, 60).shape == (60, 60, 3)
        with pytest.raises(InputError, match=told):
            opened.read(0, 0, 0, 200, 160)


def test_and_filled_where_the_user_says_so(slide) -> None:
    with applied(fill_damaged=True):
        image = read_image(slide)
    assert image.meta["notes"] == ("a.tif: 1 damaged tile is filled",)
    assert (image.numpy()[:, 64:128, 64:128] == 255).all()
    assert (image.numpy()[:, :64] < 255).any()


def test_pictures_are_of_known_forms_whatever_their_names(tmp_path) -> None:
    (tmp_path / "a.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 64 64\n%%EndComments\n%%EOF\n")
    refused_at_once(tmp_path / "a.png", r"a\.png can't be read")


@pytest.mark.parametrize(
    "text",
    [
        '{"type": "Polygon", "coordinates": [[[1e999, 1], [2, 2], [3, 3], [1, 1]]]}',
        '{"type": "Point", "coordinates": [' + "9" * 400 + ", 1]}",
        '{"type": "Polygon", "coordinates": ' + "[" * 900 + "]" * 900 + "}",
        "[" * 100_000 + "]" * 100_000,
        '{"type": ["Polygon"], "coordinates": []}',
        '{"type": "Feature", "geometry": {"type": {}, "coordinates": []}}',
    ],
)
def test_geojson_that_is_none_is_named(tmp_path, text) -> None:
    from custom_components.annotations import check_annotations

    (tmp_path / "a.geojson").write_text(text)
    refused_at_once(tmp_path / "a.geojson", r"a\.geojson", check_annotations)


def test_a_pipe_in_place_of_a_file_is_not_waited_for(tmp_path) -> None:
    os.mkfifo(tmp_path / "a.png")
    refused_at_once(tmp_path / "a.png", r"a\.png")
