"""The 3-D transform for 3D Slicer moves points of the section as the 2-D one does."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from custom_components.commands.slicer import export_scene
from custom_components.common.errors import InputError
from custom_components.fields import Grid, displacement_image, index_to_physical, read_transform, write_transform
from custom_components.fields.itk_bridge import displacement_transform


@pytest.fixture
def field(tmp_path):
    """A bending field on a grid with uneven spacing, an origin and a turned direction."""
    rows, columns = torch.meshgrid(torch.arange(20.0), torch.arange(24.0), indexing="ij")
    ddf = torch.stack([torch.sin(columns / 5), 2 + torch.cos(rows / 4)])[None]
    turn = np.array([[0.0, -1.0], [1.0, 0.0]])
    image = displacement_image(ddf, index_to_physical([0.5, 2.0], [3.0, -4.0], turn), index_to_physical([1.0, 1.0]))
    write_transform(tmp_path / "transform.h5", image)
    write_record(tmp_path, (40, 12))
    return image


def write_record(folder, shape):
    grid = Grid.of_pixels(shape).as_json()
    metrics = {"id": "p", "status": "ok", "unit": "pixel", "moving_grid": grid, "fixed_grid": grid}
    (folder / "metrics.json").write_text(json.dumps(metrics))


def test_points_of_the_section_go_where_the_flat_transform_sends_them(field, tmp_path):
    thick, flat = read_transform(export_scene(str(tmp_path))), displacement_transform(field)
    for index in ([3, 4], [10, 11], [20, 15]):
        x, y = field.TransformIndexToPhysicalPoint(index)
        for z in (0.0, 0.4, -0.7):
            moved = thick.TransformPoint([x + 0.1, y - 0.1, z])
            np.testing.assert_allclose(moved, [*flat.TransformPoint([x + 0.1, y - 0.1]), z], atol=1e-5)


def test_other_folders_are_refused_with_the_reason(tmp_path):
    with pytest.raises(InputError, match=r"holds no metrics\.json of a registration"):
        export_scene(str(tmp_path))
    write_record(tmp_path, (40, 12))
    with pytest.raises(InputError, match=r"transform\.h5 does not exist"):
        export_scene(str(tmp_path))
    write_record(tmp_path, (9, 40, 12))
    with pytest.raises(InputError, match="volumes"):
        export_scene(str(tmp_path))
    (tmp_path / "metrics.json").write_text('{"status": "failed", "reason": "too few matches"}')
    with pytest.raises(InputError, match="too few matches"):
        export_scene(str(tmp_path))
