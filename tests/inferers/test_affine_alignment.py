from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage import data

from custom_components.common.errors import RegistrationError
from custom_components.fields import affine_to_ddf, grid_change, warp
from custom_components.inferers import AffineAlignment, Estimate, PairImages
from custom_components.inferers.affine_alignment import (
    DECISION_SIZE,
    implausible,
    match_turned,
    rescale,
    rotation_about_centre,
)
from custom_components.matching import PointPairs, XFeatMatcher
from custom_components.matching.affine import apply_affine
from custom_components.transforms import stain_independent_grey


@given(degrees=st.floats(-180, 180), mirrored=st.booleans())
@settings(max_examples=30, deadline=None, derandomize=True)
def test_rotation_keeps_the_centre_and_all_lengths(degrees: float, mirrored: bool) -> None:
    matrix = rotation_about_centre((41, 60), degrees, mirrored)
    np.testing.assert_allclose(matrix @ [20, 29.5, 1], [20, 29.5, 1], atol=1e-9)
    np.testing.assert_allclose(np.linalg.det(matrix), -1 if mirrored else 1)
    np.testing.assert_allclose(matrix[:2, :2] @ matrix[:2, :2].T, np.eye(2), atol=1e-12)


def test_rescaled_matrix_maps_the_same_places() -> None:
    coarse = rotation_about_centre((40, 50), 25.0)
    fine = rescale(coarse, 3.0)
    corner = np.array([[0.0, 0.0], [7.0, 11.0]])
    there = apply_affine(coarse, torch.from_numpy(corner)).numpy()
    found = apply_affine(fine, torch.from_numpy((corner + 0.5) * 3 - 0.5)).numpy()
    np.testing.assert_allclose((found + 0.5) / 3 - 0.5, there)


@pytest.mark.parametrize(
    ("matrix", "said"), [(np.eye(3), ""), (np.diag([2.0, 2.0, 1]), "scales"), (np.diag([1.5, 0.8, 1]), "stretches")]
)
def test_implausible_affines_are_named(matrix, said: str) -> None:
    assert said in implausible(matrix)
    assert bool(said) == bool(implausible(matrix))


@pytest.mark.parametrize(("degrees", "mirrored"), [(0, False), (45, False), (180, False), (-100, False), (70, True)])
def test_any_rotation_is_found(degrees: float, mirrored: bool, make_pair, error) -> None:
    known = make_pair(degrees, mirrored)
    estimate = AffineAlignment(XFeatMatcher(), mirrored=mirrored)(known.images, Estimate.identity(known.images.shape))
    assert error(estimate.ddf, known).max() < 3
    torch.testing.assert_close(estimate.ddf, affine_to_ddf(estimate.affine, known.images.shape))
    details = estimate.stages[-1].details
    assert details["mirrored"] is mirrored
    assert details["consistent"] == len(estimate.matches)


def test_a_mirrored_section_is_refused_with_advice(make_pair) -> None:
    known = make_pair(20, mirrored=True)
    with pytest.raises(RegistrationError, match="set mirrored"):
        AffineAlignment(XFeatMatcher())(known.images, Estimate.identity(known.images.shape))


@pytest.mark.parametrize(
    "name", ["gravel", *(pytest.param(name, marks=pytest.mark.slow) for name in ("coffee", "noise"))]
)
def test_unrelated_images_are_refused(name: str, tissue) -> None:
    fixed = tissue(512)
    if name == "noise":
        other = torch.rand(512, 512, generator=torch.Generator().manual_seed(0))
    else:
        picture = torch.from_numpy(np.atleast_3d(getattr(data, name)())).float().mean(dim=2) / 255
        other = torch.nn.functional.pad(picture[:512, :512], (0, 0, 0, max(0, 512 - picture.shape[0])))
    moving = other[None, None]
    pair = PairImages(moving, fixed, torch.ones_like(moving), (fixed > 0.02).float())
    with pytest.raises(RegistrationError, match="Are both images of the same tissue"):
        AffineAlignment(XFeatMatcher())(pair, Estimate.identity(pair.shape))


def test_pairs_found_on_a_turned_image_come_back_in_the_original() -> None:
    def corner(moving, fixed) -> PointPairs:
        return PointPairs(torch.tensor([[3.0, 4.0]]), torch.tensor([[5.0, 6.0]]), torch.ones(1))

    matrix = rotation_about_centre((32, 32), 90.0)
    image = torch.zeros(1, 1, 32, 32)
    pairs = match_turned(corner, image, image, matrix)
    torch.testing.assert_close(pairs.moving, apply_affine(matrix, torch.tensor([[3.0, 4.0]]).double()).float())
    torch.testing.assert_close(pairs.fixed, torch.tensor([[5.0, 6.0]]))


@pytest.mark.parametrize("scale", [0.5, 2.0])
def test_another_scale_is_found_where_the_files_do_not_say_it(scale: float) -> None:
    """One section at twice the resolution of the other, turned as well."""
    fixed = torch.from_numpy(stain_independent_grey(np.moveaxis(data.immunohistochemistry(), -1, 0)))[None, None]
    matrix = rotation_about_centre((512, 512), 30.0, scale=scale)
    moving = warp(fixed, affine_to_ddf(np.linalg.inv(matrix), (512, 512)).float())
    tissue = (moving > 0).float()
    pair = PairImages(moving, fixed, tissue, torch.ones_like(fixed))
    found = AffineAlignment(XFeatMatcher())(pair, Estimate.identity(pair.shape))
    assert found.stages[-1].details["scale"] == scale
    np.testing.assert_allclose(found.affine[:2, :2], matrix[:2, :2], atol=0.03)


@pytest.mark.parametrize("side", [400, 1101, 1500, 2047])
def test_the_decision_is_taken_at_one_size_whatever_the_working_size(side: int, make_pair, error) -> None:
    known = make_pair(0)

    def resized(image: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.interpolate(image, (side, side - 3), mode="bilinear", antialias=True)

    images = PairImages(*(resized(t) for t in (known.images.moving, known.images.fixed)), *(
        (resized(t) > 0.5).float() for t in (known.images.moving_mask, known.images.fixed_mask)
    ))  # fmt: skip
    asked: list[int] = []

    class Spy(XFeatMatcher):
        def __call__(self, moving: torch.Tensor, fixed: torch.Tensor) -> PointPairs:
            asked.append(max(*moving.shape, *fixed.shape))
            return super().__call__(moving, fixed)

    estimate = AffineAlignment(Spy())(images, Estimate.identity(images.shape))
    assert max(asked) <= min(side, DECISION_SIZE)
    # the same affine as at the original size, in the voxels of this one
    small = AffineAlignment(XFeatMatcher())(known.images, Estimate.identity(known.images.shape))
    change = grid_change(known.images.shape, images.shape)
    expected = change @ small.affine @ np.linalg.inv(change)
    corners = np.array([[0, 0, 1], [side, 0, 1], [0, side, 1], [side, side, 1.0]]).T
    assert np.abs((expected - estimate.affine) @ corners).max() < 0.012 * side
