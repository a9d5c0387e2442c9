"""Pixel sizes in every way that programs of microscopes write them, and what is none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from custom_components.common.errors import InputError
from custom_components.pairs import read_image
from custom_components.pairs.reading import Reading

IMAGE = np.random.default_rng(0).integers(0, 255, (40, 52), dtype=np.uint8)


NANOMETRES = {
    "PhysicalSizeY": 325.0, "PhysicalSizeYUnit": "nm", "PhysicalSizeX": 0.000325, "PhysicalSizeXUnit": "mm",
}  # fmt: skip


def ome(file: Path, **sizes: Any) -> None:
    tifffile.imwrite(file, IMAGE, ome=True, metadata={"axes": "YX", **sizes})


@pytest.mark.parametrize(
    ("sizes", "wanted"),
    [
        ({"PhysicalSizeX": 0.5, "PhysicalSizeY": 0.25}, (0.25, 0.5)),
        ({"PhysicalSizeX": 0.5}, (0.5, 0.5)),
        (NANOMETRES, (0.325, 0.325)),
        ({"PhysicalSizeX": 0.5, "PhysicalSizeXUnit": "pixel"}, None),
        ({}, None),
    ],
)  # fmt: skip
def test_ome_in_any_unit(tmp_path, sizes, wanted) -> None:
    ome(tmp_path / "a.ome.tif", **sizes)
    size = read_image(tmp_path / "a.ome.tif").meta["pixel_size"]
    assert size == (None if wanted is None else pytest.approx(wanted))


def test_one_side_stands_for_both_and_is_told(tmp_path) -> None:
    ome(tmp_path / "a.ome.tif", PhysicalSizeX=0.5)
    (note,) = read_image(tmp_path / "a.ome.tif").meta["notes"]
    assert "only one side of a pixel is stated, 0.5 micrometres" in note


@pytest.mark.parametrize("size", [5e-7, 12000.0, -0.5])
def test_sizes_that_can_not_be_are_refused_with_the_way_out(tmp_path, size) -> None:
    ome(tmp_path / "a.ome.tif", PhysicalSizeX=size, PhysicalSizeY=size)
    with pytest.raises(InputError, match=r"a\.ome\.tif states pixels of .* micrometres, which can't be; .*_pixel_size"):
        read_image(tmp_path / "a.ome.tif")
    image = read_image(tmp_path / "a.ome.tif", reading=Reading(pixel_size=0.5))
    assert image.meta["pixel_size"] == (0.5, 0.5)


@pytest.mark.parametrize(("unit", "per_unit", "wanted"), [
    ("um", 2.0, 0.5), ("micron", 4.0, 0.25), ("\\u00B5m", 2.0, 0.5), ("mm", 2000.0, 0.5), ("nm", 0.002, 0.5),
    ("cm", 20000.0, 0.5), ("inch", 50800.0, 0.5), ("inch", 300.0, None), ("pixel", 1.0, None), ("", 2.0, None),
])  # fmt: skip
def test_imagej_says_the_unit_beside_its_tags(tmp_path, unit, per_unit, wanted) -> None:
    metadata = {"unit": unit} if unit else {}
    tifffile.imwrite(tmp_path / "a.tif", IMAGE, imagej=True, resolution=(per_unit, per_unit), metadata=metadata)
    size = read_image(tmp_path / "a.tif").meta["pixel_size"]
    assert size == (None if wanted is None else pytest.approx((wanted, wanted), rel=1e-3))


@pytest.mark.parametrize(
    ("unit", "per_unit", "wanted"),
    [
        ("CENTIMETER", 20000.0, 0.5), ("INCH", 50800.0, 0.5), ("INCH", 72.0, None), ("INCH", 300.0, None),
        ("CENTIMETER", 118.11, None), ("CENTIMETER", 1.0, None), ("NONE", 2.0, None),
    ],
)  # fmt: skip
def test_the_resolution_of_a_print_is_no_pixel_size_and_that_is_told(tmp_path, unit, per_unit, wanted) -> None:
    tifffile.imwrite(tmp_path / "a.tif", IMAGE, resolution=(per_unit, per_unit), resolutionunit=unit, metadata=None)
    image = read_image(tmp_path / "a.tif")
    assert image.meta["pixel_size"] == (None if wanted is None else pytest.approx((wanted, wanted), rel=1e-3))
    assert bool(image.meta["notes"]) == (wanted is None and unit != "NONE")
