"""Levels of the patch pyramid, and groups of patches cut from them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from custom_components.common.errors import InputError
from custom_components.fields import affine_to_ddf, compose, compose_affine, identity_grid, warp
from custom_components.inferers import PairImages
from custom_components.inferers.affine_alignment import rotation_about_centre
from custom_components.inferers.patch_pyramid import LevelImages, PatchGroup, improve, level_images
from custom_components.inferers.patches import plan_patches

CPU = torch.device("cpu")
TURNS = [(0.0, False), (37.0, False), (150.0, True)]


def group_of(level: LevelImages, residual: Tensor, patch_size: int = 24) -> PatchGroup:
    return PatchGroup(level, residual, plan_patches(level.shape, patch_size, patch_size // 2), patch_size, CPU)


def in_place(group: PatchGroup, whole: Tensor) -> Tensor:
    """The group's patches of a whole image or field (1, C, H, W)."""
    side = group.patch_size
    starts = [patch.start for patch in group.patches]
    return torch.stack([whole[0, :, row : row + side, column : column + side] for row, column in starts])


# levels


@pytest.mark.parametrize(("degrees", "mirrored"), TURNS)
@pytest.mark.parametrize("scale", [0.5, 0.31])
def test_a_levels_affine_is_the_pairs_in_its_own_voxels(degrees, mirrored, scale, smooth_field) -> None:
    """Of a smooth image, shrinking and then warping on the level is warping and then shrinking."""
    image = smooth_field(123, 95)[:, :1]
    matrix = rotation_about_centre((123, 95), degrees, mirrored) if degrees else np.eye(3)
    matrix[:2, 2] += 2.6, -4.3
    images = PairImages(image, image, torch.ones_like(image), torch.ones_like(image))
    level = level_images(images, matrix, scale)
    assert level.shape == (round(123 * scale), round(95 * scale))
    full = warp(image, affine_to_ddf(matrix, images.shape))
    shrunk = F.interpolate(full, level.shape, mode="bilinear", antialias=True)
    inside = warp(torch.ones_like(image), affine_to_ddf(matrix, images.shape))
    rim = F.max_pool2d((inside < 0.99).float(), 13, stride=1, padding=6)
    inside = F.interpolate(rim, level.shape, mode="area") == 0
    assert inside.float().mean() > 0.4
    astray = level.matrix.copy()
    astray[:2, 2] += 0.25  # voxels of the level
    right, wrong = (
        float((warp(level.moving, affine_to_ddf(found, level.shape)) - shrunk)[inside].abs().mean())
        for found in (level.matrix, astray)
    )
    assert right < 0.25 * wrong


@pytest.mark.parametrize("scale", [0.5, 0.31, 0.25])
def test_a_levels_voxels_lie_where_shrinking_puts_them(scale) -> None:
    """On a ramp the grey value of a level's voxel is its place on the working grid, so the affine's effect is seen."""
    rows, columns = identity_grid((123, 95))
    for axis, ramp in enumerate((rows, columns)):
        image = ramp[None, None]
        matrix = np.eye(3)
        matrix[axis, axis], matrix[axis, 2] = 0.6, 20.0  # voxels of the working grid
        level = level_images(PairImages(image, image, image, image), matrix, scale)
        moved = warp(level.moving, affine_to_ddf(level.matrix, level.shape))
        # without the half voxels it would be off by 0.2 or more; the filter itself bends a ramp by 0.05
        assert (moved - (0.6 * level.fixed + 20))[..., 4:-4, 4:-4].abs().max() < 0.06


def test_the_finest_level_is_the_pair_itself(textured) -> None:
    images = textured()
    matrix = rotation_about_centre(images.shape, 30)
    level = level_images(images, matrix, 1.0, masks=True)
    assert level.moving is images.moving
    assert level.fixed_mask is images.fixed_mask
    np.testing.assert_array_equal(level.matrix, matrix)


def test_no_level_is_smaller_than_a_voxel(textured) -> None:
    assert level_images(textured(3, 40), np.eye(3), 0.1).shape == (1, 4)


# groups of patches


@pytest.mark.parametrize(("degrees", "mirrored"), TURNS)
def test_moving_patches_are_the_whole_image_warped_by_the_composed_field(
    degrees, mirrored, smooth_field, textured
) -> None:
    images = textured()
    residual, step = smooth_field(90, 76, largest=4), smooth_field(90, 76, largest=3, seed=1)
    matrix = rotation_about_centre(images.shape, degrees, mirrored) if degrees else np.eye(3)
    level = LevelImages(images.moving, images.fixed, None, None, matrix)
    group = group_of(level, residual)
    whole = compose(residual, step)
    torch.testing.assert_close(group.composed(in_place(group, step)), in_place(group, whole), atol=1e-4, rtol=0)
    warped = warp(images.moving, compose_affine(matrix, whole))
    torch.testing.assert_close(group.warped(in_place(group, step)), in_place(group, warped), atol=2e-4, rtol=0)
    so_far = warp(images.moving, compose_affine(matrix, residual))
    torch.testing.assert_close(group.moving, in_place(group, so_far), atol=2e-4, rtol=0)
    assert torch.equal(group.fixed, in_place(group, images.fixed))
    assert torch.equal(group.image, torch.cat([group.moving, group.fixed], dim=1))


def test_the_common_mask_is_tissue_in_both_images_after_the_step(smooth_field, textured) -> None:
    images = textured()
    left = (identity_grid((90, 76))[1] < 40).float()[None, None]
    right = (identity_grid((90, 76))[1] > 20).float()[None, None]
    residual, step = smooth_field(90, 76, largest=4), smooth_field(90, 76, largest=3, seed=1)
    level = LevelImages(images.moving, images.fixed, left, right, np.eye(3))
    group = group_of(level, residual)
    wanted = right * warp(left, compose(residual, step))
    torch.testing.assert_close(group.common_mask(in_place(group, step)), in_place(group, wanted), atol=1e-3, rtol=0)


def test_a_level_without_masks_says_so(textured) -> None:
    group = group_of(level_images(textured(), np.eye(3), 1.0), torch.zeros(1, 2, 90, 76))
    with pytest.raises(InputError, match="without masks"):
        group.common_mask(torch.zeros(len(group.patches), 2, 24, 24))


def test_gradients_reach_the_step_through_warped_and_composed(smooth_field, textured) -> None:
    level = level_images(textured(), np.eye(3), 1.0, masks=True)
    group = group_of(level, smooth_field(90, 76, largest=4))
    step = torch.full((len(group.patches), 2, 24, 24), 0.3, requires_grad=True)
    (group.warped(step) - group.fixed).square().mean().backward()
    assert step.grad is not None
    assert (step.grad.flatten(1).abs().amax(1) > 0).all()
    step.grad = None
    group.composed(step).square().mean().backward()
    assert step.grad.isfinite().all()
    assert step.grad.abs().max() > 0


def test_a_step_down_the_gradient_brings_the_patches_nearer(smooth_field) -> None:
    fixed = smooth_field(90, 76, sigma=4)[:, :1]
    moving = warp(fixed, torch.full((1, 2, 90, 76), 1.5), padding_mode="border")
    group = group_of(LevelImages(moving, fixed, None, None, np.eye(3)), torch.zeros(1, 2, 90, 76))
    step = torch.zeros(len(group.patches), 2, 1, 1, requires_grad=True)
    optimiser = torch.optim.Adam([step], 0.1)
    for _ in range(60):
        optimiser.zero_grad()
        (group.warped(step.expand(-1, -1, 24, 24)) - group.fixed).square().mean().backward()
        optimiser.step()
    inner = [i for i, patch in enumerate(group.patches) if 0 < patch.start[0] < 60 and 0 < patch.start[1] < 50]
    assert (step.detach()[inner] + 1.5).abs().max() < 0.2


def test_a_level_takes_part_only_where_patches_are_given(textured) -> None:
    images, residual = textured(), torch.zeros(1, 2, 90, 76)
    level = level_images(images, np.eye(3), 1.0)
    patches = plan_patches(images.shape, 32, 16)[:2]
    found = improve(level, residual, patches, [lambda group: torch.ones(len(group.patches), 2, 32, 32)], [CPU], 32, 8)
    wanted = torch.zeros_like(residual)
    for patch in patches:
        wanted[0][(slice(None), *patch.keep)] = 1
    assert torch.equal(found, wanted)
    assert torch.equal(residual, torch.zeros_like(residual))
