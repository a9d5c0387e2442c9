from __future__ import annotations

import pytest
import torch

from custom_components.fields import affine_to_ddf, warp
from custom_components.losses import AffineSimilarityLoss, PatchNCCLoss
from custom_components.networks import theta_to_matrix

IDENTITY = torch.tensor([[[1.0, 0, 0], [0, 1, 0]]])


def textured(height: int = 40, width: int = 52) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(1, 1, 6, 7, generator=generator)
    return torch.nn.functional.interpolate(coarse, (height, width), mode="bicubic", align_corners=True)


def test_identical_images_under_the_identity_are_best() -> None:
    image = textured().expand(2, 2, -1, -1)
    assert AffineSimilarityLoss()(IDENTITY.expand(2, 2, 3), image).item() == pytest.approx(-1.0, abs=1e-4)


def test_the_moving_image_is_warped_as_the_fields_warp_it() -> None:
    moving, fixed = textured(), textured().flip(3)
    theta = torch.tensor([[[0.97, 0.08, 0.1], [-0.05, 1.04, -0.06]]])
    warped = warp(moving, affine_to_ddf(theta_to_matrix(theta, (40, 52))[0], (40, 52)))
    found = AffineSimilarityLoss(shrink=1)(theta, torch.cat([moving, fixed], dim=1))
    assert found.item() == pytest.approx(PatchNCCLoss()(warped, fixed).item(), abs=1e-5)


def test_a_shift_of_the_columns_is_found_along_the_gradient() -> None:
    moving = textured()
    fixed = torch.roll(moving, -3, dims=3)  # fixed(column) = moving(column + 3): the column offset has to grow
    theta = IDENTITY.clone().requires_grad_()
    AffineSimilarityLoss()(theta, torch.cat([moving, fixed], dim=1)).backward()
    assert theta.grad is not None
    assert theta.grad[0, 1, 2] < 0
    assert abs(theta.grad[0, 1, 2]) > abs(theta.grad[0, 0, 2])


def test_images_without_contrast_give_no_gradient_but_no_nan() -> None:
    theta = IDENTITY.clone().requires_grad_()
    AffineSimilarityLoss()(theta, torch.full((1, 2, 16, 16), 0.5)).backward()
    assert theta.grad is not None
    assert theta.grad.isfinite().all()
