"""CZI as Zeiss' own library writes it: colour and fluorescence, scenes, stacks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from custom_components.common.errors import InputError
from custom_components.pairs import open_slide, read_image
from custom_components.pairs.reading import Reading

czi = pytest.importorskip("pylibCZIrw.czi", reason="the package pylibCZIrw is not installed")
RNG = np.random.default_rng(0)
COLOUR = RNG.integers(0, 255, (301, 423, 3), dtype=np.uint8)
STACK = RNG.integers(0, 60000, (2, 3, 60, 71), dtype=np.uint16)  # C, Z


def test_colour_lies_where_it_was_scanned_with_its_pixel_size(tmp_path) -> None:
    with czi.create_czi(str(tmp_path / "a.czi")) as file:
        file.write(COLOUR[..., ::-1], location=(-10, 20))
        file.write_metadata("a", scale_x=0.5e-6, scale_y=0.25e-6)
    image = read_image(tmp_path / "a.czi")
    np.testing.assert_array_equal(image.numpy(), np.moveaxis(COLOUR, -1, 0))
    assert image.meta["pixel_size"] == pytest.approx((0.25, 0.5))
    assert image.meta["layout"].kind == "rgb"


def stack(file: Path, planes: int) -> Path:
    with czi.create_czi(str(file)) as writer:
        for channel in range(2):
            for plane in range(planes):
                writer.write(STACK[channel, plane][..., None], plane={"C": channel, "Z": plane})
        writer.write_metadata("a", channel_names={0: "CD3", 1: "DAPI"})
    return file


def test_fluorescence_has_named_channels_and_the_nuclei_are_matched(tmp_path) -> None:
    image = read_image(stack(tmp_path / "a.czi", 1))
    np.testing.assert_array_equal(image.numpy(), STACK[:, 0])
    assert image.meta["layout"].names == ("CD3", "DAPI")
    assert image.meta["channel"] == 1
    assert image.meta["pixel_size"] is None


def test_a_stack_needs_a_plane(tmp_path) -> None:
    file = stack(tmp_path / "a.czi", 3)
    with pytest.raises(InputError, match=r"a\.czi is a stack of 3 Z, not one section"):
        read_image(file)
    np.testing.assert_array_equal(read_image(file, reading=Reading(plane="max")).numpy(), STACK.max(axis=1))
    np.testing.assert_array_equal(read_image(file, reading=Reading(plane=2)).numpy(), STACK[:, 2])


def test_the_largest_scene_is_read_and_levels_are_halves(tmp_path) -> None:
    large = np.repeat(np.repeat(COLOUR, 5, 0), 5, 1)
    with czi.create_czi(str(tmp_path / "a.czi")) as file:
        file.write(COLOUR, location=(0, 0), scene=0)
        file.write(large[..., ::-1], location=(1000, 50), scene=1)
    with open_slide(tmp_path / "a.czi") as slide:
        assert slide.levels == [(1505, 2115), (752, 1057), (376, 528)]
        np.testing.assert_array_equal(slide.read(0, 100, 200, 50, 60), large[100:150, 200:260])
        assert slide.read(2, 0, 0, 376, 528).shape == (376, 528, 3)
        assert slide.notes == ("scene 1 of 2 is read, the largest",)
    np.testing.assert_array_equal(
        read_image(tmp_path / "a.czi", reading=Reading(series=0)).numpy(), np.moveaxis(COLOUR[..., ::-1], -1, 0)
    )
    with pytest.raises(InputError, match="has scenes 0, 1, asked for '7'"):
        read_image(tmp_path / "a.czi", reading=Reading(series=7))


def test_a_damaged_file_is_refused(tmp_path) -> None:
    (tmp_path / "a.czi").write_bytes(b"ZISRAWFILE" + bytes(600))
    with pytest.raises(InputError, match=r"a\.czi can't be read"):
        read_image(tmp_path / "a.czi")
