from __future__ import annotations

from pathlib import Path

import itk
import numpy as np
import pytest
import tifffile
import torch
from monai.data import MetaTensor
from monai.transforms import Compose
from PIL import Image
from skimage import data

from custom_components.common.errors import InputError
from custom_components.fields import Grid, index_to_physical
from custom_components.pairs import select_pairs, write_image
from custom_components.transforms import CommonPadd, ReadPaird, StainGreyd, WorkingSized

KEYS = ["moving", "fixed"]


@pytest.fixture
def pair(tmp_path: Path):
    image = data.immunohistochemistry()
    Image.fromarray(image[:400, :300]).save(tmp_path / "moving.png")
    Image.fromarray(image[:350, :380]).save(tmp_path / "fixed.png")
    return select_pairs(moving=tmp_path / "moving.png", fixed=tmp_path / "fixed.png")[0]


def prepared(pair, size: int = 200):
    steps = [ReadPaird(), WorkingSized(KEYS, working_size=size), StainGreyd(KEYS), CommonPadd(KEYS)]
    return Compose(steps)({"pair": pair})


def test_all_images_end_on_grids_of_one_size(pair) -> None:
    ready = prepared(pair)
    images = [ready[f"{kind}_{key}"] for kind in ("working", "mask") for key in KEYS]
    assert all(isinstance(image, MetaTensor) for image in images)
    assert len({tuple(image.shape) for image in images}) == 1
    assert ready["moving"].shape == (3, 400, 300)
    assert ready["unit"] == "pixel"
    assert set(torch.unique(ready["mask_fixed"]).tolist()) <= {0.0, 1.0}


def test_a_working_voxel_knows_its_place_in_the_file(pair) -> None:
    """The darkest blob of the file lies where the brightest of the working image says."""
    ready = prepared(pair, size=400)
    mask = ready["mask_moving"][0].numpy() > 0.5
    corner = Grid.of(ready["working_moving"]).physical(np.argwhere(np.ones_like(mask)).astype(float))
    inside = ((corner >= -0.5) & (corner <= np.array([299.5, 399.5]))).all(axis=1).reshape(mask.shape)
    assert inside.sum() == 400 * 300
    assert not ready["working_moving"][0].numpy()[~inside].any()


def test_a_volume_is_refused(tmp_path: Path, pair) -> None:
    volume = tmp_path / "volume.mha"
    itk.imwrite(itk.image_from_array(np.random.default_rng(0).random((40, 40, 40)).astype(np.float32)), str(volume))
    wrong = select_pairs(moving=volume, fixed=pair.fixed)[0]
    with pytest.raises(InputError, match="3-D image; this bundle registers 2-D sections"):
        ReadPaird()({"pair": wrong})


def test_micrometres_are_the_unit_when_both_files_state_them(tmp_path: Path) -> None:
    image = data.immunohistochemistry()[:200, :200]
    for name, size in (("a", 0.5), ("b", 1.0)):
        tifffile.imwrite(
            tmp_path / f"{name}.ome.tif", np.moveaxis(image, -1, 0), photometric="rgb", planarconfig="separate",
            metadata={"axes": "CYX", "PhysicalSizeX": size, "PhysicalSizeY": size, "PhysicalSizeXUnit": "µm",
                      "PhysicalSizeYUnit": "µm"},
        )  # fmt: skip
    pair = select_pairs(moving=tmp_path / "a.ome.tif", fixed=tmp_path / "b.ome.tif")[0]
    read = ReadPaird()({"pair": pair})
    assert read["unit"] == "micrometre"
    sized = WorkingSized(KEYS, micrometres_per_pixel=2.0)(read)
    assert sized["working_moving"].shape[1:] == (50, 50)
    assert sized["working_fixed"].shape[1:] == (100, 100)


def test_millimetres_are_the_unit_of_sections_in_medical_formats(tmp_path: Path) -> None:
    matrix = index_to_physical((0.5, 0.25))
    for name in ("moving", "fixed"):
        write_image(tmp_path / f"{name}.mha", np.moveaxis(data.immunohistochemistry()[:90, :80], -1, 0), matrix)
    pair = select_pairs(moving=tmp_path / "moving.mha", fixed=tmp_path / "fixed.mha")[0]
    read = ReadPaird()({"pair": pair})
    assert read["unit"] == "millimetre"
    np.testing.assert_allclose(Grid.of(read["fixed"]).matrix, matrix)


def test_one_channel_can_be_chosen(tmp_path: Path) -> None:
    stack = np.random.default_rng(0).integers(0, 255, (4, 64, 64)).astype(np.uint8)
    for name in ("a", "b"):
        tifffile.imwrite(tmp_path / f"{name}.tif", stack, photometric="minisblack")
    pair = select_pairs(moving=tmp_path / "a.tif", fixed=tmp_path / "b.tif")[0]
    read = ReadPaird(channel=2)({"pair": pair})
    np.testing.assert_array_equal(read["moving"].numpy(), stack)  # all are kept
    working = WorkingSized(["moving"], working_size=64)(read)["working_moving"]
    np.testing.assert_array_equal(working.numpy(), stack[2:3])


def test_an_image_of_other_pixels_is_as_coarse_as_its_partner_once_they_are_square(tmp_path: Path) -> None:
    """Twice as tall as wide on one side: both end at the taller side's micrometres."""
    image = np.moveaxis(data.immunohistochemistry()[:300, :400], -1, 0)
    write_image(tmp_path / "moving.ome.tif", np.ascontiguousarray(image[:, ::2]), pixel_size=(1.0, 0.5))
    write_image(tmp_path / "fixed.ome.tif", np.ascontiguousarray(image), pixel_size=(0.5, 0.5))
    pair = select_pairs(moving=tmp_path / "moving.ome.tif", fixed=tmp_path / "fixed.ome.tif")[0]
    ready = Compose([ReadPaird(), WorkingSized(KEYS, working_size=1024)])({"pair": pair})
    for key in KEYS:
        working = ready[f"working_{key}"]
        assert working.shape == (3, 150, 200)
        np.testing.assert_allclose(Grid.of(working).spacing, [1.0, 1.0], rtol=1e-6)
