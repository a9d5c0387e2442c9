"""The map of expected errors lies where the field lies, and counts in its unit: against ramps with a closed form."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
import torch

from custom_components.common.errors import InputError
from custom_components.fields import (
    ErrorMap,
    Grid,
    displacement_image,
    image_matrix,
    index_to_physical,
    pixels_per_length,
    read_error_map,
    write_error_map,
)

TURN = np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
FRAMES = {
    "pixels, odd sizes": Grid.of_pixels((97, 121)),
    "pixels that are not square": Grid.of_pixels((60, 81), (0.5, 0.25)),
    "volume that lies askew": Grid(
        (21, 24, 27), index_to_physical([1.0, 1.5, 2.5], [-9.0, 4.0, 1.0], TURN), "millimetre", known=True
    ),
}


def ramp(grid: Grid) -> tuple[torch.Tensor, np.ndarray, np.ndarray]:
    """An estimate (1, 2, *shape), 2 and 5 voxels at index 0 and more along each axis, and its slopes and starts."""
    slopes = np.array([[0.1, 0.03, -0.02], [0.2, 0.05, 0.01]])[:, : len(grid.shape)]
    starts = np.array([2.0, 5.0])
    values = np.tensordot(slopes, np.indices(grid.shape), 1) + starts.reshape(2, *(1,) * len(grid.shape))
    return torch.from_numpy(values)[None].float(), slopes, starts


def wanted_at(working: Grid, points: np.ndarray) -> np.ndarray:
    """Lengths of the ramp at physical points, by the working grid's own geometry."""
    _, slopes, starts = ramp(working)
    return (working.index(points) @ slopes.T + starts) * working.spacing.max()


def inner_points(frame: Grid) -> np.ndarray:
    return frame.physical(np.random.default_rng(0).uniform(0.2, 0.8, (30, len(frame.shape))) * frame.shape)


@pytest.fixture(params=FRAMES)
def frame(request) -> Grid:
    return FRAMES[request.param]


def test_the_map_lies_on_the_grid_of_the_field_and_counts_in_its_unit(frame, tmp_path):
    working = frame.shrunk(0.4)
    write_error_map(tmp_path / "error_estimate.mha", ErrorMap.of_voxels(ramp(working)[0], working, frame))
    found = read_error_map(tmp_path / "error_estimate.mha")
    dimensions = len(frame.shape)
    field = displacement_image(torch.zeros(1, dimensions, *working.shape), working.matrix, working.matrix)
    assert found.image.GetSize() == field.GetSize()
    np.testing.assert_allclose(image_matrix(found.image), image_matrix(field), atol=1e-9)
    points = inner_points(frame)
    np.testing.assert_allclose(found.at(points), wanted_at(working, points), rtol=1e-5)
    # as any other program reads it
    index = [3] * dimensions
    place = np.array(found.image.TransformIndexToPhysicalPoint(index))[None]
    np.testing.assert_allclose(found.image.GetPixel(index), wanted_at(working, place)[0], rtol=1e-5)


def test_the_map_of_a_working_grid_that_was_turned_and_flipped_is_parallel_to_the_image():
    frame = Grid.of_pixels((90, 110), (0.5, 0.5))
    # rows become columns, backwards, at half the size
    step = np.array([[0.0, 2.0, 0.5], [-2.0, 0.0, 88.5], [0.0, 0.0, 1.0]])
    working = Grid((55, 45), frame.matrix @ step, frame.unit)
    assert not working.parallel_to(frame)
    errors = ErrorMap.of_voxels(ramp(working)[0], working, frame)
    assert errors.image.GetDirection() == (1.0, 0.0, 0.0, 1.0)
    points = inner_points(frame)
    np.testing.assert_allclose(errors.at(points), wanted_at(working, points), rtol=1e-5)


def test_on_the_fixed_image_each_pixel_has_the_error_of_its_place(frame):
    working = frame.shrunk(0.5)
    layers = ErrorMap.of_voxels(ramp(working)[0], working, frame).on(frame)
    assert layers.shape == (2, *frame.shape)
    middle = np.array([[side // 2 for side in frame.shape]], dtype=float)
    np.testing.assert_allclose(
        layers[(slice(None), *(side // 2 for side in frame.shape))], wanted_at(working, frame.physical(middle))[0],
        rtol=1e-5,
    )  # fmt: skip


def test_beyond_the_border_the_border_value_holds_and_no_place_has_no_error(frame):
    working = frame.shrunk(0.5)
    estimate = ramp(working)[0]
    errors = ErrorMap.of_voxels(estimate, working, frame)
    far = frame.physical(np.full((2, len(frame.shape)), -500.0))
    far[1] = np.nan
    found = errors.at(far)
    corner = estimate[(0, slice(None), *(0,) * len(frame.shape))].numpy() * working.spacing.max()
    np.testing.assert_allclose(found[0], corner, rtol=1e-5)
    assert np.isnan(found[1]).all()


def test_a_length_becomes_no_fewer_pixels_than_it_may_be():
    assert pixels_per_length(Grid.of_pixels((9, 9), (0.5, 0.25))) == 4
    assert pixels_per_length(Grid.of_pixels((9, 9))) == 1


def test_what_is_no_map_is_named(tmp_path):
    with pytest.raises(InputError, match=r"error_estimate\.mha is not readable"):
        read_error_map(tmp_path / "error_estimate.mha")
    sitk.WriteImage(sitk.Image([4, 4], sitk.sitkFloat32), str(tmp_path / "grey.mha"))
    with pytest.raises(InputError, match=r"grey\.mha is no error estimate: 1 components"):
        read_error_map(tmp_path / "grey.mha")
    errors = ErrorMap.of_voxels(torch.ones(1, 2, 8, 8), Grid.of_pixels((8, 8)), Grid.of_pixels((8, 8)))
    with pytest.raises(InputError, match="can't be written"):
        write_error_map(tmp_path / "absent" / "error_estimate.mha", errors)
