"""What is written in kind, as other programs read it."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import openslide
import pytest
import tifffile
import tiffslide
from scipy.ndimage import gaussian_filter, shift

from custom_components.common.errors import InputError
from custom_components.pairs import read_image, write_image
from custom_components.pairs.layout import Layout
from custom_components.pairs.slides import block_mean

SIZE = (0.25, 0.5)  # micrometres, row and column
BLUE, GREEN, RED = (0, 0, 255), (0, 255, 0), (255, 0, 0)
FOUR = Layout("channels", ("DAPI", "CD3", "\u03b1-SMA", 'Ki "67" <&>'), (BLUE, GREEN, RED, (255, 128, 0)), "lzw")
PYRAMID = {"tile": (128, 128), "levels": 3}


@dataclass(frozen=True)
class Kind:
    """An image to write: its pixels' shape and dtype, how its source was stored, and the file's name."""

    channels: int
    dtype: str
    layout: Layout
    name: str = "a.ome.tif"
    shape: tuple[int, int] = (333, 401)

    def pixels(self) -> np.ndarray[Any, Any]:
        noise = gaussian_filter(np.random.default_rng(0).random((self.channels, *self.shape)), (0, 8, 8))
        noise = (noise - noise.min()) / np.ptp(noise)
        return noise.astype(self.dtype) if self.dtype == "float32" else (noise * 250).round().astype(self.dtype)

    @property
    def lossy(self) -> bool:
        given = self.layout.compression
        return given == "jpeg" or (given == "jpeg2000" and self.layout.kind == "rgb")

    def written(self, folder: Path) -> Path:
        write_image(folder / self.name, self.pixels(), pixel_size=SIZE, layout=self.layout)
        assert [path.name for path in folder.iterdir()] == [self.name]
        return folder / self.name


KINDS = {
    "rgb flat": Kind(3, "uint8", Layout("rgb", compression="zlib"), "a.tif"),
    "rgb flat ome": Kind(3, "uint8", Layout("rgb", compression="lzw", icc=b"profile")),
    "rgb tiles": Kind(3, "uint8", Layout("rgb", compression="zlib", tile=(64, 64)), "a.tif"),
    "rgb pyramid": Kind(3, "uint8", Layout("rgb", compression="zlib", icc=b"profile", **PYRAMID)),
    "rgb jpeg pyramid": Kind(3, "uint8", Layout("rgb", compression="jpeg", **PYRAMID)),
    "rgb jpeg pyramid plain": Kind(3, "uint8", Layout("rgb", compression="jpeg2000", **PYRAMID), "a.tif"),
    "rgb 16 bit": Kind(3, "uint16", Layout("rgb", compression="zlib")),
    "rgb 16 bit plain": Kind(3, "uint16", Layout("rgb"), "a.tif"),
    "four channels": Kind(4, "uint16", FOUR),
    "four channels plain": Kind(4, "uint16", FOUR, "a.tif"),
    "four channels pyramid": Kind(4, "uint16", Layout("channels", FOUR.names, FOUR.colours, "zstd", **PYRAMID)),
    "four channels pyramid plain": Kind(4, "uint16", Layout("channels", FOUR.names, FOUR.colours, **PYRAMID), "a.tif"),
    "fluorescence": Kind(3, "uint8", Layout("channels", ("DAPI", "CD3", "CD8"), (BLUE, GREEN, RED), "zlib")),
    "fluorescence plain": Kind(3, "uint8", Layout("channels", ("DAPI", "CD3", "CD8"), (BLUE, GREEN, RED)), "a.tif"),
    "fluorescence jpeg": Kind(3, "uint8", Layout("channels", ("DAPI", "CD3", "CD8"), (), "jpeg", (256, 256))),
    "fluorescence jpeg 2000": Kind(3, "uint16", Layout("channels", ("DAPI", "CD3", "CD8"), (), "jpeg2000", (256, 256))),
    "no names": Kind(3, "uint8", Layout("channels", compression="none")),
    "no names plain": Kind(3, "uint8", Layout("channels", compression="none"), "a.tif"),
    "no names 16 bit": Kind(3, "uint16", Layout("channels"), "a.tif"),
    "signed channels plain": Kind(2, "int16", Layout("channels", ("phase", "height")), "a.tif"),
    "grey 8 bit": Kind(1, "uint8", Layout("grey", compression="zlib"), "a.tif"),
    "grey pyramid": Kind(1, "uint8", Layout("grey", compression="zlib", **PYRAMID)),
    "grey 16 bit": Kind(1, "uint16", Layout("grey", ("DAPI",), (BLUE,), "lzw")),
    "grey float": Kind(1, "float32", Layout("grey"), "a.tif"),
    "float channels": Kind(3, "float32", Layout("channels", ("a", "b", "c"))),
    "labels": Kind(1, "uint32", Layout("grey"), "a.ome.tif"),
    "bits": Kind(1, "bool", Layout("grey"), "a.tif"),
}  # fmt: skip
each_kind = pytest.mark.parametrize("kind", KINDS.values(), ids=list(KINDS))


def expected(kind: Kind) -> np.ndarray[Any, Any]:
    """As tifffile gives it."""
    pixels = kind.pixels()
    return np.moveaxis(pixels, 0, -1) if kind.layout.kind == "rgb" else pixels


def check_pixels(found: np.ndarray[Any, Any], wanted: np.ndarray[Any, Any], kind: Kind) -> None:
    assert found.dtype == wanted.dtype
    assert found.shape == wanted.shape
    if kind.lossy:
        assert np.abs(found.astype(int) - wanted.astype(int)).mean() < 2
    else:
        np.testing.assert_array_equal(found, wanted)


@each_kind
def test_our_reader_gives_the_same_pixels(tmp_path: Path, kind: Kind) -> None:
    image = read_image(kind.written(tmp_path))
    bits = kind.dtype == "bool"  # are black and white
    assert image.meta["dtype"] == ("uint8" if bits else kind.dtype)
    assert image.meta["pixel_size"] == pytest.approx(SIZE, rel=1e-4)
    pixels = kind.pixels()
    check_pixels(image.numpy().astype(image.meta["dtype"]), pixels.astype(np.uint8) * 255 if bits else pixels, kind)


@each_kind
def test_tifffile_sees_pixels_colours_and_levels(tmp_path: Path, kind: Kind) -> None:
    with tifffile.TiffFile(kind.written(tmp_path)) as tiff:
        series, page = tiff.series[0], tiff.pages.first
        rgb = kind.layout.kind == "rgb"
        check_pixels(series.asarray().reshape(expected(kind).shape), expected(kind), kind)
        assert (page.photometric in (tifffile.PHOTOMETRIC.RGB, tifffile.PHOTOMETRIC.YCBCR)) == rgb
        assert page.samplesperpixel == (3 if rgb else 1)
        assert page.planarconfig == tifffile.PLANARCONFIG.CONTIG
        assert page.is_tiled == (kind.layout.tile is not None)
        assert not page.is_tiled or (page.tilelength, page.tilewidth) == kind.layout.tile
        assert [level.shape[-3:-1] if rgb else level.shape[-2:] for level in series.levels] == (
            [(333, 401), (167, 201), (84, 101)] if kind.layout.levels > 1 else [(333, 401)]
        )
        assert page.tags.valueof("InterColorProfile") == kind.layout.icc
        lossy = page.compression == tifffile.COMPRESSION.JPEG
        assert lossy == kind.lossy
        if kind.layout.levels > 1:
            wanted = block_mean(np.moveaxis(kind.pixels(), 0, -1), 2)
            found = series.levels[1].asarray()
            found = found if rgb else np.moveaxis(found.reshape(kind.channels, 167, 201), 0, -1)
            check_pixels(found, wanted, kind)


@each_kind
def test_names_and_colours_of_channels_are_kept(tmp_path: Path, kind: Kind) -> None:
    with tifffile.TiffFile(kind.written(tmp_path)) as tiff:
        layout = kind.layout
        if tiff.is_ome:
            pixels = tifffile.xml2dict(tiff.ome_metadata)["OME"]["Image"]["Pixels"]
            channels = pixels["Channel"]
            channels = channels if isinstance(channels, list) else [channels]
            assert len(channels) == (1 if layout.kind == "rgb" else kind.channels)
            assert [c["SamplesPerPixel"] for c in channels] == [3 if layout.kind == "rgb" else 1] * len(channels)
            assert (pixels["PhysicalSizeY"], pixels["PhysicalSizeX"]) == SIZE
            assert pixels["SizeC"] == kind.channels
            if layout.names:
                assert tuple(c["Name"] for c in channels) == layout.names
            numbers = [int(c["Color"]) & 0xFFFFFFFF for c in channels if "Color" in c]
            assert tuple((n >> 24, n >> 16 & 255, n >> 8 & 255) for n in numbers) == layout.colours
            assert all(n & 255 == 255 for n in numbers)
        elif tiff.is_imagej:
            found = tiff.imagej_metadata or {}
            assert found["channels"] == kind.channels
            assert tuple(found.get("Labels", ())) == layout.names
            assert tuple(tuple(table[:, -1].tolist()) for table in found.get("LUTs", ())) == layout.colours
        elif layout.kind == "channels":
            found = tiff.shaped_metadata[0]
            assert found["axes"] == "CYX"
            assert tuple(found.get("Channel", {}).get("Name", ())) == layout.names


@pytest.mark.parametrize("name", [name for name, kind in KINDS.items() if kind.layout.tile and kind.channels != 4])
def test_openslide_and_tiffslide_read_tiles_of_one_page(tmp_path: Path, name: str) -> None:
    kind = KINDS[name]
    if kind.layout.kind == "channels":
        pytest.skip("channels are no slide of theirs")
    file, wanted = kind.written(tmp_path), np.moveaxis(kind.pixels(), 0, -1)
    assert openslide.OpenSlide.detect_format(str(file)) == "generic-tiff"
    levels = [(401, 333), (201, 167), (101, 84)][: 3 if kind.layout.levels > 1 else 1]
    for slide in (openslide.OpenSlide(str(file)), tiffslide.TiffSlide(file)):
        assert list(slide.level_dimensions) == levels
        region = np.asarray(slide.read_region((100, 50), 0, (200, 150)).convert("RGB"))
        assert np.abs(region.astype(int) - wanted[50:200, 100:300].astype(int)).mean() < 2
        vendor = "openslide" if isinstance(slide, openslide.OpenSlide) else "tiffslide"
        assert float(slide.properties[f"{vendor}.mpp-x"]) == pytest.approx(SIZE[1], rel=1e-3)
        slide.close()


@each_kind
def test_ome_metadata_are_valid(tmp_path: Path, kind: Kind) -> None:
    ome_types = pytest.importorskip("ome_types")
    if not kind.name.endswith(".ome.tif"):
        pytest.skip("no OME-TIFF")
    schema = any(importlib.util.find_spec(name) for name in ("lxml", "xmlschema"))  # one of them checks against it
    pixels = ome_types.from_tiff(str(kind.written(tmp_path)), validate=schema).images[0].pixels
    assert (pixels.size_c, pixels.size_y, pixels.size_x) == (kind.channels, *kind.shape)
    assert (pixels.physical_size_y, pixels.physical_size_x) == SIZE
    if kind.layout.names:
        assert tuple(channel.name for channel in pixels.channels) == kind.layout.names
    if kind.layout.colours:
        assert [channel.color.as_rgb_tuple()[:3] for channel in pixels.channels] == list(kind.layout.colours)


@each_kind
def test_libvips_reads_the_first_page(tmp_path: Path, kind: Kind) -> None:
    pyvips = pytest.importorskip("pyvips")
    found = pyvips.Image.new_from_file(str(kind.written(tmp_path))).numpy()
    wanted = expected(kind) if kind.layout.kind == "rgb" else kind.pixels()[0]
    wanted = wanted * np.uint8(255) if kind.dtype == "bool" else wanted
    assert np.abs(found.reshape(wanted.shape).astype(float) - wanted.astype(float)).mean() < 2


@pytest.mark.skipif(importlib.util.find_spec("bioio_ome_tiff") is None, reason="needs bioio and bioio-ome-tiff")
@each_kind
def test_bioio_reads_channels_and_pixel_size(tmp_path: Path, kind: Kind) -> None:
    from bioio import BioImage

    if not kind.name.endswith(".ome.tif"):
        pytest.skip("no OME-TIFF")
    image = BioImage(kind.written(tmp_path))
    assert (image.physical_pixel_sizes.Y, image.physical_pixel_sizes.X) == SIZE
    if kind.layout.names and kind.layout.kind == "channels":
        assert tuple(image.channel_names) == kind.layout.names


@pytest.mark.parametrize("name", ["a.tif", "a.ome.tif"])
def test_what_imagej_opens_has_no_differences_under_deflate(tmp_path: Path, name: str) -> None:
    """ImageJ undoes differences of pixels under LZW alone and reads others as they are, without a word."""
    smooth = (np.add.outer(np.arange(300) * 90, np.arange(310) * 70)[None] % 60000).astype(np.uint16)
    noise = np.random.default_rng(0).integers(0, 255, (1, 300, 310), np.uint8)
    for pixels, compression in ((smooth, 5), (noise, 8)):
        for source in ("zlib", "", "jpeg2000"):
            write_image(tmp_path / name, pixels, layout=Layout(compression=source if pixels is smooth else "zlib"))
            with tifffile.TiffFile(tmp_path / name) as tiff:
                page = tiff.pages.first
                assert (page.compression, page.predictor) == (compression, 2 if compression == 5 else 1)
                np.testing.assert_array_equal(page.asarray(), pixels[0])


def counts(dtype: str) -> np.ndarray[Any, Any]:
    """(4, 700, 900) fluorescence: cells on a dark ground, with the noise of a camera."""
    random = np.random.default_rng(3)
    cells = gaussian_filter(random.random((4, 700, 900)), (0, 6, 6))
    cells = np.clip((cells - cells.min()) / np.ptp(cells) - 0.5, 0, None)
    found = random.poisson(cells * (400 if dtype == "uint8" else 20000) + 6)
    return np.clip(found, 0, np.iinfo(dtype).max).astype(dtype)


TILES = (256, 256)


# Warped by a part of a pixel, a file takes at most so many times the bytes of its source; docs/outputs.md has the
# figures. Values that lie on steps must grow, as interpolation fills them in, and so does JPEG of lower quality.
@pytest.mark.parametrize(
    ("dtype", "compression", "tile", "step", "most"),
    [
        ("uint16", "zlib", TILES, 1, 1.0), ("uint16", "zlib", None, 1, 1.0), ("uint8", "zlib", TILES, 1, 1.0),
        ("uint8", "zlib", None, 1, 1.0), ("uint16", "lzw", TILES, 1, 1.0), ("uint16", "lzw", None, 1, 1.0),
        ("uint8", "lzw", TILES, 1, 1.0), ("uint8", "lzw", None, 1, 1.0), ("uint16", "zstd", TILES, 1, 1.0),
        ("uint8", "zstd", TILES, 1, 1.0), ("uint16", "jpeg2000", TILES, 1, 1.0), ("uint8", "jpeg2000", TILES, 1, 1.0),
        ("uint16", "none", None, 1, 1.01), ("uint8", "jpeg 90", TILES, 1, 1.0), ("uint8", "jpeg 75", TILES, 1, 2.0),
        ("uint16", "zlib", TILES, 16, 1.8), ("uint16", "lzw", TILES, 16, 1.8), ("uint16", "zstd", TILES, 16, 1.8),
    ],
)  # fmt: skip
def test_a_fluorescence_file_does_not_grow(
    tmp_path: Path, dtype: str, compression: str, tile: tuple[int, int] | None, step: int, most: float
) -> None:
    source, (name, *quality) = counts(dtype) // step * step, compression.split()
    predictor = name in ("lzw", "zstd") or (name == "zlib" and tile is not None)
    tifffile.imwrite(
        tmp_path / "source.ome.tif", source, tile=tile, predictor=predictor, photometric="minisblack",
        compression=None if name == "none" else name, compressionargs={"level": int(quality[0])} if quality else None,
        metadata={"axes": "CYX"},
    )  # fmt: skip
    warped = shift(source.astype(np.float32), (0, 0.37, 0.61), order=1, mode="nearest").round().astype(dtype)
    write_image(
        tmp_path / "warped.ome.tif", warped, layout=Layout("channels", FOUR.names, FOUR.colours, name, tile)
    )  # fmt: skip
    ratio = (tmp_path / "warped.ome.tif").stat().st_size / (tmp_path / "source.ome.tif").stat().st_size
    print(f"{dtype} {compression} {'tiles' if tile else 'strips'}, steps of {step}: {ratio:.2f}")
    assert ratio <= most
    if name != "jpeg":
        np.testing.assert_array_equal(tifffile.imread(tmp_path / "warped.ome.tif"), warped)


def test_labels_are_never_stored_with_loss_nor_mixed(tmp_path: Path) -> None:
    labels = np.random.default_rng(0).choice([3, 200], (1, 300, 301)).astype(np.uint8)
    layout = Layout("grey", compression="jpeg", tile=(128, 128), levels=2)
    write_image(tmp_path / "a.ome.tif", labels, layout=layout, nearest=True)
    with tifffile.TiffFile(tmp_path / "a.ome.tif") as tiff:
        np.testing.assert_array_equal(tiff.series[0].levels[1].asarray().reshape(150, 151), labels[0, ::2, ::2])


@pytest.mark.parametrize("name", ["a.tif", "a.ome.tif"])
def test_volumes_become_pages(tmp_path: Path, name: str) -> None:
    pixels = np.random.default_rng(0).integers(0, 4000, (2, 5, 40, 50)).astype(np.uint16)
    write_image(tmp_path / name, pixels, layout=Layout("channels", ("a", "b"), compression="jpeg", tile=(64, 64)))
    found = tifffile.imread(tmp_path / name)
    np.testing.assert_array_equal(found, np.moveaxis(pixels, 0, 1) if found.shape[0] == 5 else pixels)


def test_what_a_form_can_not_hold_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"a\.ome\.tif: OME-TIFF can't hold int64 pixels; choose \.tif"):
        write_image(tmp_path / "a.ome.tif", np.zeros((1, 40, 50), np.int64))
    with pytest.raises(InputError, match=r"a\.png: the 3 channels are not red, green and blue.*choose \.tif"):
        write_image(tmp_path / "a.png", np.zeros((3, 40, 50), np.uint8), layout=Layout("channels"))
    assert list(tmp_path.iterdir()) == []
    write_image(tmp_path / "a.tif", np.full((1, 40, 50), -5, np.int64))
    assert tifffile.imread(tmp_path / "a.tif").reshape(-1)[0] == -5
