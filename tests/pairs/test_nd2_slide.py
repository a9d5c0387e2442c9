"""ND2 as Nikon's microscopes write it: colour and fluorescence, positions, stacks; files of our own making.

The files (``benchmarks.microscope_files``) have the chunks of version 2.1 that the package nd2 asks for; none was
written by a microscope. Which component of a colour is blue follows Bio-Formats (ome/bioformats#4321).
"""

from __future__ import annotations

import sys

import numpy as np
import pytest

from benchmarks.microscope_files import write_nd2
from custom_components.common.errors import InputError
from custom_components.pairs import open_slide, read_image
from custom_components.pairs.reading import Reading

RNG = np.random.default_rng(0)
FRAMES = RNG.integers(0, 4095, (6, 60, 71, 2), dtype=np.uint16)  # Y, X, C
COLOUR = RNG.integers(0, 255, (60, 71, 3), dtype=np.uint8)
NAMES = ("CD3", "DAPI")


@pytest.fixture(autouse=True)
def library() -> None:
    pytest.importorskip("nd2", reason="the package nd2 is not installed")


def first(frames: np.ndarray) -> np.ndarray:
    return np.moveaxis(frames, -1, 0)


def test_channels_have_their_names_and_the_nuclei_are_matched(tmp_path) -> None:
    image = read_image(write_nd2(tmp_path / "a.nd2", FRAMES[:1], NAMES, step=0.25))
    np.testing.assert_array_equal(image.numpy(), first(FRAMES[0]))
    assert image.meta["dtype"] == "uint16"
    assert image.meta["layout"].names == NAMES
    assert image.meta["layout"].colours == ((0, 0, 255), (0, 255, 0))
    assert image.meta["channel"] == 1
    assert image.meta["pixel_size"] == (0.25, 0.25)


def test_a_single_channel_has_no_pixel_size_where_none_is_stated(tmp_path) -> None:
    image = read_image(write_nd2(tmp_path / "a.nd2", FRAMES[:1, ..., :1], ("DIC",), step=None))
    np.testing.assert_array_equal(image.numpy(), first(FRAMES[0, ..., :1]))
    assert image.meta["pixel_size"] is None
    assert image.meta["layout"].kind == "grey"


def test_colour_is_stored_as_blue_green_red(tmp_path) -> None:
    image = read_image(write_nd2(tmp_path / "a.nd2", np.ascontiguousarray(COLOUR[None, ..., ::-1])))
    np.testing.assert_array_equal(image.numpy(), first(COLOUR))
    assert image.meta["layout"].kind == "rgb"


def test_a_stack_needs_a_plane(tmp_path) -> None:
    file = write_nd2(tmp_path / "a.nd2", FRAMES[:3], NAMES, loops=[("Z", 3)])
    with pytest.raises(InputError, match=r"a\.nd2 is a stack of 3 Z, not one section"):
        read_image(file)
    np.testing.assert_array_equal(read_image(file, reading=Reading(plane="max")).numpy(), first(FRAMES[:3].max(axis=0)))
    np.testing.assert_array_equal(read_image(file, reading=Reading(plane=2)).numpy(), first(FRAMES[2]))


def test_positions_are_series(tmp_path) -> None:
    file = write_nd2(tmp_path / "a.nd2", FRAMES, NAMES, loops=[("P", 2), ("Z", 3)])
    for wanted in (1, "well 1"):
        image = read_image(file, reading=Reading(series=wanted, plane=2))
        np.testing.assert_array_equal(image.numpy(), first(FRAMES[5]))
    with open_slide(file, Reading(plane=1)) as slide:
        assert slide.levels == [(60, 71)]
        assert slide.notes == ("series 0 'well 0' of 2 is read (0 'well 0', 1 'well 1')",)
        np.testing.assert_array_equal(slide.read(0, 10, 20, 30, 40), FRAMES[1, 10:40, 20:60])
    with pytest.raises(InputError, match="has no series '2'; it has 0 'well 0', 1 'well 1'"):
        read_image(file, reading=Reading(series=2, plane=1))


def test_channels_without_a_probe_are_read_and_what_is_lost_is_said(tmp_path) -> None:
    image = read_image(write_nd2(tmp_path / "a.nd2", FRAMES[:1], NAMES, probes=False))
    np.testing.assert_array_equal(image.numpy(), first(FRAMES[0]))
    known = image.meta["pixel_size"] == (0.5, 0.5) and image.meta["layout"].names == NAMES
    assert known or any("can't be read of this file" in note for note in image.meta["notes"])


def test_a_damaged_file_is_refused(tmp_path) -> None:
    file = write_nd2(tmp_path / "a.nd2", FRAMES[:1], NAMES)
    file.write_bytes(file.read_bytes()[:6000])
    with pytest.raises(InputError, match=r"a\.nd2 can't be read"):
        read_image(file)


def test_a_missing_package_is_told(tmp_path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "nd2", None)
    with pytest.raises(InputError, match=r"ND2 needs the package nd2 \(pip install warpzoo\[nd2\]\)"):
        read_image(write_nd2(tmp_path / "a.nd2", FRAMES[:1], NAMES))
