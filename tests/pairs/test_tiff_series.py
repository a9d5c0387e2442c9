"""TIFFs of every kind that labs have, each made here: axes, series, palettes, orientation, colours or channels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageOps

from custom_components.common.errors import InputError
from custom_components.pairs import open_slide, read_image
from custom_components.pairs.reading import Reading

RNG = np.random.default_rng(0)
RGB = RNG.integers(0, 255, (40, 53, 3), dtype=np.uint8)
STACK = RNG.integers(0, 255, (3, 40, 53), dtype=np.uint8)
GREY = STACK[0]
NAMES = {"Name": ["CD3", "DAPI", "CD20"], "Color": [-16776961, 65535, 16711935]}


def write_channels(file: Path, names: dict[str, Any]) -> None:
    metadata = {"axes": "CYX", "Channel": names}
    tifffile.imwrite(file, STACK, metadata=metadata, photometric="minisblack", ome=True)


def values(file: Path, **reading: Any) -> np.ndarray:
    """(C, H, W) as it is read whole, checked against what is read by regions."""
    image = read_image(file, reading=Reading(**reading))
    array = np.asarray(image.numpy()).astype(image.meta["dtype"])
    with open_slide(file, Reading(**reading)) as slide:
        part = slide.read(0, 3, 5, 20, 31)
        assert slide.layout == image.meta["layout"]
    np.testing.assert_array_equal(np.moveaxis(part, -1, 0), array[:, 3:23, 5:36])
    return array


def test_three_channels_are_no_colours(tmp_path) -> None:
    write_channels(tmp_path / "a.ome.tif", NAMES)
    np.testing.assert_array_equal(values(tmp_path / "a.ome.tif"), STACK)
    meta = read_image(tmp_path / "a.ome.tif").meta
    assert meta["layout"].kind == "channels"
    assert meta["layout"].names == ("CD3", "DAPI", "CD20")
    assert meta["layout"].colours == ((255, 0, 0), (0, 0, 255), (0, 255, 0))
    assert meta["channel"] == 1
    assert "'DAPI', the nuclei" in meta["notes"][0]


@pytest.mark.parametrize("planar", ["contig", "separate"])
def test_samples_of_colour_are_colours(tmp_path, planar) -> None:
    data = RGB if planar == "contig" else np.moveaxis(RGB, -1, 0)
    tifffile.imwrite(tmp_path / "a.tif", data, photometric="rgb", planarconfig=planar)
    np.testing.assert_array_equal(values(tmp_path / "a.tif"), np.moveaxis(RGB, -1, 0))
    assert read_image(tmp_path / "a.tif").meta["layout"].kind == "rgb"


def test_channels_called_red_green_blue_are_colours(tmp_path) -> None:
    write_channels(tmp_path / "a.ome.tif", {"Name": ["Red", "Green", "Blue"]})
    assert read_image(tmp_path / "a.ome.tif").meta["layout"].kind == "rgb"


@pytest.mark.parametrize(("axes", "shape"), [("ZYX", (3, 40, 53)), ("TYX", (4, 40, 53)), ("ZCYX", (4, 2, 40, 53))])
def test_a_stack_is_refused_until_a_plane_is_named(tmp_path, axes, shape) -> None:
    data = RNG.integers(0, 60000, shape, dtype=np.uint16)
    tifffile.imwrite(tmp_path / "a.ome.tif", data, metadata={"axes": axes}, photometric="minisblack")
    options = r"--moving_plane or --fixed_plane \(of apply --plane\): max"
    with pytest.raises(InputError, match=rf"is a stack of {shape[0]} .*{options}"):
        read_image(tmp_path / "a.ome.tif")
    single = data[2] if data.ndim == 4 else data[2:3]
    np.testing.assert_array_equal(values(tmp_path / "a.ome.tif", plane=2), single)
    most = data.max(axis=0) if data.ndim == 4 else data.max(axis=0, keepdims=True)
    np.testing.assert_array_equal(values(tmp_path / "a.ome.tif", plane="max"), most)
    with pytest.raises(InputError, match=rf"has planes 0 to {shape[0] - 1}, asked for 9"):
        read_image(tmp_path / "a.ome.tif", reading=Reading(plane=9))


def test_an_imagej_hyperstack_has_channels_and_planes(tmp_path) -> None:
    data = RNG.integers(0, 60000, (4, 3, 40, 53), dtype=np.uint16)  # Z, C
    tifffile.imwrite(tmp_path / "a.tif", data, imagej=True, metadata={"axes": "ZCYX"})
    np.testing.assert_array_equal(values(tmp_path / "a.tif", plane="max"), data.max(axis=0))


def test_the_largest_series_is_read_not_the_thumbnail(tmp_path) -> None:
    large = np.repeat(np.repeat(GREY, 3, 0), 3, 1)
    with tifffile.TiffWriter(tmp_path / "a.ome.tif", ome=True) as tiff:
        for name, image in (("label image", large), ("thumb", GREY[:33, :34]), ("Tissue", GREY)):
            tiff.write(image, metadata={"axes": "YX", "Name": name}, photometric="minisblack")
    np.testing.assert_array_equal(values(tmp_path / "a.ome.tif")[0], GREY)
    (note,) = read_image(tmp_path / "a.ome.tif").meta["notes"]
    assert "series 2 'Tissue' of 3 is read" in note
    for series in (1, "thumb"):
        image = read_image(tmp_path / "a.ome.tif", reading=Reading(series=series))
        np.testing.assert_array_equal(image[0], GREY[:33, :34])
    with pytest.raises(InputError, match=r"has no series 'x'; it has 0 'label image' 159 x 120, 1 'thumb' 34 x 33"):
        read_image(tmp_path / "a.ome.tif", reading=Reading(series="x"))


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_inverted_grey_is_shown_as_a_viewer_does(tmp_path, dtype) -> None:
    data = GREY.astype(dtype)
    tifffile.imwrite(tmp_path / "a.tif", data, photometric="miniswhite")
    np.testing.assert_array_equal(values(tmp_path / "a.tif")[0], np.iinfo(dtype).max - data)


def test_palettes_bilevel_cmyk_and_alpha_are_shown_as_pillow_does(tmp_path) -> None:
    pictures = {
        "palette": Image.fromarray(RGB).quantize(31),
        "bilevel": Image.fromarray(GREY > 120),
        "cmyk": Image.fromarray(RGB).convert("CMYK"),
    }
    for name, picture in pictures.items():
        picture.save(tmp_path / f"{name}.tif")
        shown = np.asarray(picture.convert("L" if name == "bilevel" else "RGB"))
        shown = shown[None] if shown.ndim == 2 else np.moveaxis(shown, -1, 0)
        np.testing.assert_allclose(values(tmp_path / f"{name}.tif").astype(int), shown, atol=1)
    alpha = np.dstack([RGB, GREY])
    tifffile.imwrite(tmp_path / "a.tif", alpha, photometric="rgb", extrasamples=["unassalpha"])
    blended = RGB * (alpha[..., 3:] / 255) + 255 - alpha[..., 3:]
    np.testing.assert_allclose(values(tmp_path / "a.tif"), np.moveaxis(blended, -1, 0), atol=0.51)


@pytest.mark.parametrize("code", range(1, 9))
@pytest.mark.parametrize("tile", [None, (16, 32)])
def test_the_orientation_is_that_of_a_viewer(tmp_path, code, tile) -> None:
    file = tmp_path / "a.tif"
    tifffile.imwrite(file, RGB, photometric="rgb", extratags=[(274, "H", 1, code, True)], tile=tile, metadata=None)
    exif = Image.Exif()
    exif[274] = code
    Image.fromarray(RGB).save(tmp_path / "a.png", exif=exif)
    with Image.open(tmp_path / "a.png") as picture:
        wanted = np.moveaxis(np.asarray(ImageOps.exif_transpose(picture)), -1, 0)
    np.testing.assert_array_equal(values(file), wanted)
    np.testing.assert_array_equal(read_image(tmp_path / "a.png").numpy(), wanted)
    for name in ("a.tif", "a.png"):
        assert bool(read_image(tmp_path / name).meta["notes"]) == (code != 1)


def test_a_file_that_lacks_pages_is_refused(tmp_path) -> None:
    file = tmp_path / "a.ome.tif"
    tifffile.imwrite(file, STACK, metadata={"axes": "CYX"}, photometric="minisblack")
    file.write_bytes(file.read_bytes().replace(b'SizeC="3"', b'SizeC="4"'))
    with pytest.raises(InputError, match=r"a\.ome\.tif"):
        read_image(file)
