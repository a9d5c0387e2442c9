"""The stack of all sections, read back by another library's reader."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile

from custom_components.common.errors import InputError
from custom_components.pairs import read_image, write_image
from custom_components.series.stack import grey_plane, write_stack


def test_each_section_is_a_named_grey_channel_with_the_pixel_size(tmp_path):
    rng = np.random.default_rng(0)
    colour = rng.integers(0, 256, (3, 41, 57)).astype(np.uint8)
    grey = rng.integers(0, 256, (1, 41, 57)).astype(np.uint8)
    for name, image in (("x", colour), ("y", grey), ("z", colour[::-1])):
        write_image(tmp_path / f"{name}.png", image)
    path = tmp_path / "stack.ome.tif"
    names = ["HE", "Ki67 <1:200>", "CD31"]
    write_stack(path, [tmp_path / f"{n}.png" for n in "xyz"], names, ["uint8"] * 3, (41, 57), (0.5, 0.25))
    with tifffile.TiffFile(path) as tiff:
        assert (tiff.series[0].axes, tiff.series[0].shape) == ("CYX", (3, 41, 57))
        pixels = tifffile.xml2dict(tiff.ome_metadata)["OME"]["Image"]["Pixels"]
        planes = tiff.asarray()
    assert [channel["Name"] for channel in pixels["Channel"]] == names
    assert (pixels["PhysicalSizeX"], pixels["PhysicalSizeY"]) == (0.25, 0.5)
    assert (planes[1] == grey[0]).all()
    wanted = np.tensordot([0.299, 0.587, 0.114], colour.astype(float), axes=1)
    assert np.abs(planes[0] - wanted).max() <= 0.51
    again = read_image(path)
    assert (tuple(again.shape), again.meta["pixel_size"]) == ((3, 41, 57), (0.5, 0.25))


@pytest.mark.parametrize(("dtypes", "wanted"), [(("uint8", "uint16"), np.uint16), (("uint8", "float32"), np.float32)])
def test_the_stack_holds_the_widest_of_its_sections_without_loss(tmp_path, dtypes, wanted):
    images = [np.full((1, 40, 40), 200, dtypes[0]), np.full((1, 40, 40), 1000, dtypes[1])]
    for number, image in enumerate(images):
        write_image(tmp_path / f"{number}.tif", image)
    files = [tmp_path / "0.tif", tmp_path / "1.tif"]
    write_stack(tmp_path / "stack.ome.tif", files, ["a", "b"], dtypes, (40, 40))
    planes = tifffile.imread(tmp_path / "stack.ome.tif")
    assert planes.dtype == wanted
    assert (planes[0] == 200).all()
    assert (planes[1] == 1000).all()


def test_an_image_of_another_size_leaves_no_half_stack(tmp_path):
    write_image(tmp_path / "a.png", np.zeros((1, 40, 40), np.uint8))
    with pytest.raises(InputError, match=r"a\.png is \(40, 40\), not \(40, 50\)"):
        write_stack(tmp_path / "stack.ome.tif", [tmp_path / "a.png"], ["a"], ["uint8"], (40, 50))
    assert [file.name for file in tmp_path.iterdir()] == ["a.png"]


def test_grey_of_many_channels_is_their_mean_in_the_wanted_type():
    image = np.stack([np.full((2, 2), value, np.uint16) for value in (10, 20, 31, 40)])
    assert grey_plane(image, np.dtype(np.uint16)).tolist() == [[25, 25], [25, 25]]
    assert grey_plane(image[:1], np.dtype(np.uint16)).tolist() == [[10, 10], [10, 10]]
