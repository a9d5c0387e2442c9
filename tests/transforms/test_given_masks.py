"""What lies outside of a pair's own masks takes no part."""

from __future__ import annotations

import numpy as np
import pytest
from monai.transforms import Compose
from PIL import Image
from skimage import data

from custom_components.common.errors import InputError
from custom_components.fields import Grid
from custom_components.pairs import select_pairs, write_image
from custom_components.transforms import CommonPadd, GivenMaskd, GreyScaled, ReadPaird, StainGreyd, WorkingSized

KEYS = ["moving", "fixed"]


@pytest.fixture
def files(tmp_path):
    image = data.immunohistochemistry()
    Image.fromarray(image[:400, :300]).save(tmp_path / "moving.png")
    Image.fromarray(image[:350, :380]).save(tmp_path / "fixed.png")
    mask = np.zeros((1, 350, 380), np.uint8)
    mask[:, 100:250, 120:300] = 255
    write_image(tmp_path / "mask.png", mask)
    return {"moving": tmp_path / "moving.png", "fixed": tmp_path / "fixed.png", "fixed_mask": tmp_path / "mask.png"}


@pytest.mark.parametrize("grey", [StainGreyd, GreyScaled])
@pytest.mark.parametrize("size", [200, 380])
def test_only_what_the_mask_shows_is_left(grey, size, files):
    steps = [ReadPaird(), WorkingSized(KEYS, size), grey(KEYS), GivenMaskd(KEYS), CommonPadd(KEYS)]
    ready = Compose(steps)({"pair": select_pairs(**files)[0]})
    grid = Grid.of(ready["mask_fixed"])
    index = np.argwhere(ready["mask_fixed"][0].numpy() > 0.5)
    pixels = grid.physical(index.astype(float))[:, ::-1]  # row, col of the file
    assert len(index) > 0.5 * 150 * 180 * (size / 400) ** 2
    assert (pixels > np.array([98, 118])).all()
    assert (pixels < np.array([252, 302])).all()
    outside = np.ones(grid.shape, bool)
    outside[tuple(index.T)] = False
    if grey is GreyScaled:  # of stains the mask of the tissue is smaller than what is shown
        assert ready["working_fixed"][0].numpy()[outside].max() == 0
    whole = Compose([*steps[:3], CommonPadd(KEYS)])({"pair": select_pairs(**files)[0]})
    assert np.array_equal(ready["working_moving"].numpy(), whole["working_moving"].numpy())


def test_a_mask_that_leaves_nothing_is_refused(files):
    write_image(files["fixed_mask"], np.zeros((1, 350, 380), np.uint8))
    steps = Compose([ReadPaird(), WorkingSized(KEYS, 200), StainGreyd(KEYS), GivenMaskd(KEYS)])
    with pytest.raises(RuntimeError) as error:
        steps({"pair": select_pairs(**files)[0]})
    assert isinstance(error.value.__cause__, InputError)
    assert "mask.png: the mask leaves nothing of the tissue" in str(error.value.__cause__)
