from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch

from benchmarks.rivals import missing_rival, rival_command, rival_field, unchained
from benchmarks.whole_slides import PIXEL_SIZE, difference, known_field, make, measured
from custom_components.fields import displacement_image, grid_change, index_to_physical, write_displacement
from custom_components.fields.blocks import FieldBlocks
from custom_components.pairs import open_slide
from custom_components.slides.pyramid import PyramidWriter
from custom_components.slides.slide_warp import SlideWarp, warp_blocks

RIVALS = os.environ.get("RIVALS_PYTHON")
MATRIX = index_to_physical(PIXEL_SIZE[::-1])


@pytest.mark.parametrize(("engine", "first"), [("deeperhistreg", 8.0), ("valis", 0.0)])
def test_a_field_is_sampled_where_the_engine_has_its_voxels(engine: str, first: float) -> None:
    # 10 x 20 voxels of 16 pixels; rows move by a tenth of the column, columns by a fifth of the row
    rows, columns = torch.meshgrid(torch.arange(10.0), torch.arange(20.0), indexing="ij")
    grid = MATRIX @ grid_change((10, 20), (160, 320))
    image = displacement_image(torch.stack([0.1 * columns, 0.2 * rows])[None], grid, grid)
    found = rival_field(engine, image, (160, 320), MATRIX)
    assert found.shape == (2, 10, 20)
    # beyond the field's own voxels, from pixel 7.5 on, its border value holds
    places = [16.0 * np.arange(1, side - 1) + first for side in (10, 20)]
    np.testing.assert_allclose(found[0, 1:-1, 3], 0.2 * (places[0] - 7.5), atol=1e-3)
    np.testing.assert_allclose(found[1, 3, 1:-1], 0.1 * (places[1] - 7.5), atol=1e-3)


def test_a_missing_rival_says_what_to_give() -> None:
    assert "--rivals_python" in missing_rival("valis", None)
    assert "does not start" in missing_rival("valis", "/nowhere/python")
    assert "has no deeperhistreg" in missing_rival("deeperhistreg", sys.executable)


def test_a_slide_without_its_chain_of_levels_has_them_in_sub_images_alone(tmp_path: Path) -> None:
    make(1100, str(tmp_path), points=4)
    fixed = tmp_path / "fixed.ome.tif"
    copy = unchained(fixed, tmp_path / "copy.ome.tif")
    with tifffile.TiffFile(fixed) as before, tifffile.TiffFile(copy) as after:
        assert len(before.pages) > len(after.pages) == 1
        assert len(after.series[0].levels) == len(before.series[0].levels) > 1
    assert difference(fixed, copy) == 0


def test_memory_is_that_of_the_program_alone(tmp_path: Path) -> None:
    held = np.ones(300 * 2**17)  # 300 MiB of this process
    small, large = (
        measured([sys.executable, "-c", f"bytearray(b'1') * {2**20 * size}"], tmp_path / "log")[2] for size in (1, 200)
    )
    assert held.nbytes > 200e6 > small
    assert large > 200e6


def test_a_program_that_fails_stops_the_benchmark_and_leaves_its_words(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="log says why"):
        measured([sys.executable, "-c", "raise SystemExit('no slide')"], tmp_path / "log")
    assert "no slide" in (tmp_path / "log").read_text()


@pytest.mark.slow
@pytest.mark.skipif(not RIVALS, reason="RIVALS_PYTHON names no Python that has VALIS and DeeperHistReg")
@pytest.mark.parametrize("engine", ["deeperhistreg", "valis", "valis_default"])
def test_rivals_warp_as_the_product_does(engine: str, tmp_path: Path) -> None:
    if reason := missing_rival(engine, RIVALS):
        pytest.skip(reason)
    side = 1536
    make(side, str(tmp_path), points=10)
    field = known_field(side, 0.01, 3)
    write_displacement(tmp_path / "field.mha", field)
    ours, theirs = tmp_path / "ours.ome.tif", tmp_path / "theirs.ome.tif"
    moving = str(tmp_path / "moving.ome.tif")
    with open_slide(moving) as slide:
        writer = PyramidWriter(ours, (side, side), 3, np.uint8, "jpeg", pixel_size=PIXEL_SIZE, recipe=[])
        for _ in warp_blocks(SlideWarp(slide, 0, FieldBlocks(field, MATRIX, MATRIX), 1, (240.0,) * 3), writer, 1):
            pass
        writer.finish()
    measured(rival_command(engine, str(RIVALS), str(tmp_path / "field.mha"), moving, str(theirs)), tmp_path / "log")
    assert difference(ours, theirs) < 4 < difference(ours, Path(moving))


def test_the_difference_of_a_slide_to_itself_is_none(tmp_path: Path) -> None:
    make(600, str(tmp_path), points=4)
    fixed, moving = (tmp_path / f"{name}.ome.tif" for name in ("fixed", "moving"))
    assert difference(fixed, fixed) == 0
    assert difference(fixed, moving) > 1
