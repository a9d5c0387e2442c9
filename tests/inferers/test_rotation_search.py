from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from custom_components.common.errors import InputError, RegistrationError
from custom_components.fields import affine_to_ddf, warp
from custom_components.inferers import Estimate, PairImages
from custom_components.inferers.affine_alignment import rotation_about_centre
from custom_components.inferers.rotation_search import (
    RotationSearch,
    centre_of_mass,
    costs,
    rotation_search,
    shortest_side_to,
    turns,
)


def shape_of_tissue(shape: tuple[int, int]) -> torch.Tensor:
    """(1, 1, H, W): an L with a soft gradient, in no way symmetric."""
    image = torch.zeros(1, 1, *shape)
    rows, columns = shape
    image[..., rows // 4 : 3 * rows // 4, columns // 3 : columns // 2] = 0.8
    image[..., 5 * rows // 8 : 3 * rows // 4, columns // 3 : 2 * columns // 3] = 0.5
    return image


def turned_pair(shape: tuple[int, int], degrees: float, shift: tuple[float, float], mirrored: bool = False):
    """Images and the matrix fixed -> moving that aligns them."""
    truth = rotation_about_centre(shape, degrees, mirrored)
    truth[:2, 2] += shift
    fixed = shape_of_tissue(shape)
    moving = warp(fixed, affine_to_ddf(np.linalg.inv(truth), shape))
    masks = [(image > 0.01).float() for image in (moving, fixed)]
    return PairImages(moving, fixed, *masks), truth


def corner_distance(first: np.ndarray, second: np.ndarray, images: PairImages) -> float:
    """Largest distance of the tissue's voxels under two matrices."""
    points = np.c_[images.fixed_mask[0, 0].nonzero().double().numpy(), np.ones(int(images.fixed_mask.sum()))]
    return float(np.linalg.norm(points @ (first - second)[:2].T, axis=1).max())


@pytest.mark.parametrize(
    ("shape", "degrees", "shift"), [((96, 96), 77.0, (0.0, 0.0)), ((101, 133), 205.0, (6.0, -9.0))]
)
@pytest.mark.parametrize("size", [64, 512])
def test_a_turn_and_a_shift_are_found(
    shape: tuple[int, int], degrees: float, shift: tuple[float, float], size: int
) -> None:
    images, truth = turned_pair(shape, degrees, shift)
    fit = rotation_search(images.moving, images.fixed, size=size, good=0.99)
    assert fit.accepted == "search"
    assert abs((fit.degrees - degrees + 180) % 360 - 180) <= 1
    assert corner_distance(fit.matrix, truth, images) < 1.5


def test_a_mirrored_section_is_found_on_request() -> None:
    images, truth = turned_pair((96, 110), 140.0, (3.0, 2.0), mirrored=True)
    fit = rotation_search(images.moving, images.fixed, good=0.99, mirrored=True)
    assert fit.mirrored
    assert corner_distance(fit.matrix, truth, images) < 1.5
    assert rotation_search(images.moving, images.fixed, good=0.99).cost > fit.cost + 0.05


def test_aligned_images_stay_where_they_are() -> None:
    image = shape_of_tissue((80, 90))
    fit = rotation_search(image, image)
    assert fit.accepted == "identity"
    assert np.array_equal(fit.matrix, np.eye(3))
    assert fit.cost == pytest.approx(-1, abs=1e-4)


def test_a_mere_shift_needs_no_search() -> None:
    image = shape_of_tissue((80, 90))
    fit = rotation_search(torch.roll(image, (9, -12), (2, 3)), image)
    assert fit.accepted == "shift"
    np.testing.assert_allclose(fit.matrix[:2, 2], [9, -12], atol=1e-9)


def test_the_step_hands_on_the_matrix_and_its_field() -> None:
    images, truth = turned_pair((90, 96), 40.0, (4.0, 0.0))
    estimate = RotationSearch(good=0.99)(images, Estimate.identity(images.shape))
    torch.testing.assert_close(estimate.ddf, affine_to_ddf(estimate.affine, images.shape))
    assert corner_distance(estimate.affine, truth, images) < 1.5
    assert estimate.stages[-1].details["accepted"] == "search"


def test_an_empty_image_is_refused() -> None:
    image = shape_of_tissue((64, 64))
    with pytest.raises(RegistrationError, match="empty"):
        rotation_search(torch.zeros_like(image), image)


@pytest.mark.parametrize("wrong", [{"rotation_step": 0.0}, {"rotation_step": 270.0}, {"size": 2}])
def test_senseless_settings_are_refused(wrong: dict[str, float]) -> None:
    image = shape_of_tissue((64, 64))
    with pytest.raises(InputError, match="rotation_step"):
        rotation_search(image, image, **wrong)


def test_costs_do_not_depend_on_the_batch() -> None:
    image = shape_of_tissue((40, 44))
    centre = centre_of_mass(image)
    matrices = turns(torch.arange(0, 360, 45.0), False, centre, centre)
    torch.testing.assert_close(costs(image, image, matrices, 3), costs(image, image, matrices, 8))
    assert costs(image, image, matrices)[0] == pytest.approx(-1, abs=1e-5)


def test_small_images_are_not_enlarged() -> None:
    image = torch.rand(1, 1, 51, 77)
    assert shortest_side_to(image, 64) is image
    small = shortest_side_to(image, 17)
    assert small.shape[2:] == (17, 26)
    assert F.interpolate(image, (17, 26), mode="area").equal(small)
