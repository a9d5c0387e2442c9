"""Which windows are taken, and how their fields become one."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from custom_components.common.errors import InputError
from custom_components.fields import Grid, grid_change, identity_grid
from custom_components.inferers.patches import Patch, plan_patches
from custom_components.refinement.windows import BlendedField, Box, parse_box, read_boxes, wanted

WHOLE = Grid.of_pixels((64, 64))
HALF = WHOLE.averaged(2).to(WHOLE)


def patch_at(row: int, column: int) -> Patch:
    return Patch((row, column), (slice(0, 0), slice(0, 0)))


@pytest.mark.parametrize(
    ("start", "inside"), [((0, 0), False), ((4, 0), True), ((14, 20), True), ((15, 20), False), ((4, 40), False)]
)
def test_a_window_meets_a_box_where_their_pixels_overlap(start, inside):
    # windows of 8 pixels at half resolution cover 16 pixels of level 0, the box rows 20 to 30 and columns 0 to 60
    assert wanted(patch_at(*start), 8, HALF, [parse_box([0, 20, 60, 10])]) is inside


def test_without_boxes_all_windows_are_wanted():
    assert wanted(patch_at(3, 4), 8, HALF, None)
    assert not wanted(patch_at(3, 4), 8, HALF, [])


def test_region_is_x_y_width_height():
    assert parse_box([10, 20, 30, 40]) == Box(top=19.5, left=9.5, bottom=59.5, right=39.5)


@pytest.mark.parametrize("region", [[1, 2, 3], [1, 2, 0, 4], [1, 2, 3, -1]])
def test_wrong_region_is_refused(region):
    with pytest.raises(InputError, match=r"\[x, y, width, height\]"):
        parse_box(region)


def test_boxes_are_those_of_the_objects(tmp_path):
    ring = [[10, 20], [30, 20], [30, 50], [10, 50], [10, 20]]
    shapes = [{"type": "Polygon", "coordinates": [ring]}, {"type": "Point", "coordinates": [5, 6]}]
    file = tmp_path / "regions.geojson"
    objects = [{"type": "Feature", "geometry": shape, "properties": {}} for shape in shapes]
    file.write_text(json.dumps({"type": "FeatureCollection", "features": objects}))
    assert read_boxes(file) == [Box(19.5, 9.5, 49.5, 29.5), Box(5.5, 4.5, 6.5, 5.5)]


def test_a_file_without_objects_is_refused(tmp_path):
    file = tmp_path / "none.geojson"
    file.write_text(json.dumps({"type": "FeatureCollection", "features": []}))
    with pytest.raises(InputError, match="no object"):
        read_boxes(file)


@pytest.mark.parametrize(("shape", "size", "overlap"), [((90, 70), 32, 8), ((64, 64), 64, 32), ((20, 45), 32, 16)])
def test_windows_of_one_smooth_field_give_that_field(shape, size, overlap):
    """A linear field cut into windows and blended is itself, on a grid half as fine."""
    coarse = (shape[0] // 2, shape[1] // 2)
    to_grid = grid_change(shape, coarse)
    blended = BlendedField(coarse, to_grid, size, overlap)
    for patch in plan_patches(shape, size, size - overlap):
        place = identity_grid((size, size)) + torch.tensor(patch.start).view(2, 1, 1)
        blended.add(patch, (0.05 * place - 1.0)[None])
    scale = torch.tensor([to_grid[0, 0], to_grid[1, 1]]).view(2, 1, 1).float()
    offset = torch.tensor([to_grid[0, 2], to_grid[1, 2]]).view(2, 1, 1).float()
    expected = (0.05 * (identity_grid(coarse) - offset) / scale - 1.0) * scale
    torch.testing.assert_close(blended.field()[0], expected, atol=3e-4, rtol=0)


def test_the_field_fades_towards_windows_that_do_not_move():
    blended = BlendedField((32, 56), np.eye(3), 32, 8)
    moved, still = plan_patches((32, 56), 32, 24)
    blended.add(moved, torch.ones(1, 2, 32, 32))
    blended.add(still, None)
    line = blended.field()[0, 0, 16]
    assert torch.all(line[:24] == 1)
    assert torch.all(line[32:] == 0)
    assert torch.all(line[24:32].diff() < 0)


def test_without_windows_nothing_moves():
    assert not BlendedField((8, 8), np.eye(3), 16, 4).field().any()
