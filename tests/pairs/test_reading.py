"""What a user says of an image, from the command line and from tables."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from custom_components.common.errors import InputError
from custom_components.pairs import read_pairs, select_pairs
from custom_components.pairs.reading import Reading, series_number

PIXELS = np.random.default_rng(0).integers(0, 255, (40, 52), dtype=np.uint8)


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ({}, Reading()),
        ({"channel": "2", "pixel_size": "0.5", "plane": "max"}, Reading(2, 0.5, None, "max")),
        ({"channel": "DAPI", "series": 1, "plane": 3}, Reading("DAPI", None, 1, 3)),
        ({"channel": "", "plane": None}, Reading()),
    ],
)
def test_text_of_numbers_is_numbers(given, wanted) -> None:
    assert Reading.of(**given) == wanted


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"pixel_size": "half"}, "pixel_size is micrometres of a pixel, 0.001 to 1000, got 'half'"),
        ({"pixel_size": 0}, "pixel_size is"), ({"pixel_size": 5000}, "pixel_size is"),
        ({"plane": "min"}, "plane is the number of a plane, from 0, or max, got 'min'"), ({"plane": -1}, "plane is"),
    ],
)  # fmt: skip
def test_what_can_not_be_is_refused(given, said) -> None:
    with pytest.raises(InputError, match=said):
        Reading.of(**given)


def test_rows_of_a_table_go_before_the_command_line(tmp_path) -> None:
    for name in "ab":
        Image.fromarray(PIXELS).save(tmp_path / f"{name}.png")
    (tmp_path / "pairs.csv").write_text(
        "id,moving,fixed,moving_channel,fixed_pixel_size,stain\n1,a.png,b.png,DAPI,0.5,CD3\n2,b.png,a.png,,,HE\n"
    )
    first, second = select_pairs(tmp_path / "pairs.csv", moving_channel=1, moving_plane="max")
    assert first.moving_reading == Reading("DAPI", plane="max")
    assert first.fixed_reading == Reading(pixel_size=0.5)
    assert second.moving_reading == Reading(1, plane="max")
    assert dict(first.extra) == {"stain": "CD3"}


def test_a_wrong_cell_is_named_by_its_row(tmp_path) -> None:
    (tmp_path / "pairs.csv").write_text("id,moving,fixed,fixed_plane\n1,a.png,b.png,top\n")
    with pytest.raises(InputError, match=r"pairs\.csv row 2: plane is the number"):
        read_pairs(tmp_path / "pairs.csv")


@pytest.mark.parametrize(
    ("names", "wanted", "number"),
    [
        (("a", "b"), "b", 1),
        (("a", "b"), 0, 0),
        (("a", "b"), 2, None),
        (("a", "b"), -1, None),
        (("a", "b"), "c", None),
        (("3", "1", "x"), 1, 1),  # a name before a number
        (("001", "002"), 1, 0),  # as a command line reads 001
        (("01", "1", "001"), 1, 1),
        (("01", "001"), 1, 1),  # neither name for sure
    ],
)
def test_names_of_series_go_before_numbers(names, wanted, number) -> None:
    assert series_number(names, wanted) == number
