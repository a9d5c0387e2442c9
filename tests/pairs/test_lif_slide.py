"""LIF as Leica's microscopes write it: colour and fluorescence, several images, stacks, tiles.

The files are of our own making (``benchmarks.microscope_files``), and one test has the package liffile agree on them;
none was written by a microscope.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks.microscope_files import LifImage, write_lif
from custom_components.common.errors import InputError
from custom_components.pairs import open_slide, read_image
from custom_components.pairs.reading import Reading

RNG = np.random.default_rng(0)
STACK = RNG.integers(0, 4095, (3, 2, 60, 71), dtype=np.uint16)  # Z, C
COLOUR = RNG.integers(0, 255, (60, 71, 3), dtype=np.uint8)


@pytest.fixture(autouse=True)
def library() -> None:
    pytest.importorskip("liffile", reason="the package liffile is not installed")


def fluorescence(name: str = "a", side: int = 60) -> LifImage:
    pixels = np.ascontiguousarray(STACK[0, :, :side])
    return LifImage(name, pixels, step=(0.25, 0.5), dyes=("Leica/ALEXA 488", "DAPI"), lookups=("Green", "Blue"))


def test_channels_have_their_dyes_and_the_nuclei_are_matched(tmp_path) -> None:
    image = read_image(write_lif(tmp_path / "a.lif", fluorescence()))
    np.testing.assert_array_equal(image.numpy(), STACK[0])
    assert image.meta["dtype"] == "uint16"
    assert image.meta["layout"].names == ("ALEXA 488", "DAPI")
    assert image.meta["layout"].colours == ((0, 255, 0), (0, 0, 255))
    assert image.meta["channel"] == 1
    assert image.meta["pixel_size"] == pytest.approx((0.25, 0.5))


def test_the_library_reads_the_same_pixels(tmp_path) -> None:
    from liffile import LifFile

    with LifFile(write_lif(tmp_path / "a.lif", fluorescence())) as file:
        np.testing.assert_array_equal(file.images[0].asarray(), STACK[0])


@pytest.mark.parametrize("order", [(1, 2, 3), (3, 2, 1)])
def test_colour_is_red_green_blue_in_either_order(tmp_path, order: tuple[int, ...]) -> None:
    pixels = np.ascontiguousarray(COLOUR[..., [tag - 1 for tag in order]])
    image = read_image(write_lif(tmp_path / "a.lif", LifImage("a", pixels, "YXC", tags=order)))
    np.testing.assert_array_equal(image.numpy(), np.moveaxis(COLOUR, -1, 0))
    assert image.meta["layout"].kind == "rgb"


def test_channels_of_a_camera_are_called_as_the_user_did(tmp_path) -> None:
    infos = "".join(f'<WideFieldChannelInfo UserDefName="{name}"/>' for name in ("DAPI", "CY5"))
    setting = f"<Attachment><WideFieldChannelConfigurator>{infos}</WideFieldChannelConfigurator></Attachment>"
    file = write_lif(tmp_path / "a.lif", LifImage("a", STACK[0], attachment=setting))
    assert read_image(file).meta["layout"].names == ("DAPI", "CY5")


def test_a_stack_needs_a_plane(tmp_path) -> None:
    file = write_lif(tmp_path / "a.lif", LifImage("a", STACK, "ZCYX"))
    with pytest.raises(InputError, match=r"a\.lif is a stack of 3 Z, not one section"):
        read_image(file)
    np.testing.assert_array_equal(read_image(file, reading=Reading(plane="max")).numpy(), STACK.max(axis=0))
    np.testing.assert_array_equal(read_image(file, reading=Reading(plane=2)).numpy(), STACK[2])
    with pytest.raises(InputError, match="has planes 0 to 2, asked for 3"):
        read_image(file, reading=Reading(plane=3))


def test_the_largest_image_is_read_or_the_one_named(tmp_path) -> None:
    file = write_lif(tmp_path / "a.lif", fluorescence("small", 40), fluorescence("large"))
    with open_slide(file) as slide:
        assert slide.levels == [(60, 71)]
        assert slide.notes == ("series 1 'large' of 2 is read (0 'small', 1 'large')",)
        np.testing.assert_array_equal(slide.read(0, 10, 20, 30, 40), np.moveaxis(STACK[0, :, 10:40, 20:60], 0, -1))
    for wanted in (0, "small"):
        image = read_image(file, reading=Reading(series=wanted))
        np.testing.assert_array_equal(image.numpy(), STACK[0, :, :40])
    with pytest.raises(InputError, match="has no series 'other'; it has 0 'small', 1 'large'"):
        read_image(file, reading=Reading(series="other"))


def test_tiles_that_were_not_merged_are_refused_and_the_merged_image_is_read(tmp_path) -> None:
    tiles = LifImage("tiles", np.repeat(STACK, 2, 2)[:, 0], "MYX")
    with pytest.raises(InputError, match="a scan of 3 tiles that were not merged"):
        read_image(write_lif(tmp_path / "a.lif", tiles))
    image = read_image(write_lif(tmp_path / "b.lif", tiles, fluorescence("merged")))
    np.testing.assert_array_equal(image.numpy(), STACK[0])


def test_a_file_without_a_pixel_size_has_none(tmp_path) -> None:
    file = write_lif(tmp_path / "a.lif", LifImage("a", STACK[0], step=None))
    assert read_image(file).meta["pixel_size"] is None
    assert read_image(file, reading=Reading(pixel_size=0.3)).meta["pixel_size"] == (0.3, 0.3)


@pytest.mark.parametrize("share", [0.01, 0.9])
def test_a_damaged_file_is_refused(tmp_path, share: float) -> None:
    file = write_lif(tmp_path / "a.lif", fluorescence())
    file.write_bytes(file.read_bytes()[: int(share * file.stat().st_size)])
    with pytest.raises(InputError, match=r"a\.lif can't be read"):
        read_image(file)


def test_a_missing_package_is_told(tmp_path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "liffile", None)
    file = Path(write_lif(tmp_path / "a.lif", fluorescence()))
    with pytest.raises(InputError, match=r"LIF needs the package liffile \(pip install warpzoo\[lif\]\)"):
        read_image(file)
