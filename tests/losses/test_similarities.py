"""What every similarity promises."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from custom_components.common.errors import InputError
from custom_components.losses import MINDSSCLoss, NGFLoss, PatchNCCLoss, WindowedNCCLoss

SPATIAL = [(20, 23), (11, 12, 13)]
# name -> (loss of D dimensions, how far a voxel's value reaches)
LOSSES = {
    "patch NCC": (lambda _: PatchNCCLoss(), 0),
    "windowed NCC": (lambda d: WindowedNCCLoss(d, kernel_size=5), 2),
    "MIND": (lambda _: MINDSSCLoss(radius=1, dilation=1), 2),
    "absolute MIND": (lambda _: MINDSSCLoss(radius=1, dilation=2, absolute=True), 3),
    "NGF": (lambda _: NGFLoss(), 1),
    "NGF of a given edge": (lambda _: NGFLoss(edge=0.02), 1),
}


@pytest.fixture(params=LOSSES)
def loss_and_reach(request, spatial) -> tuple[nn.Module, int]:
    make, reach = LOSSES[request.param]
    return make(len(spatial)), reach


@pytest.fixture
def loss(loss_and_reach) -> nn.Module:
    return loss_and_reach[0]


@pytest.mark.parametrize("spatial", SPATIAL)
def test_no_shift_is_better_than_the_same_images_aligned(loss, spatial, images) -> None:
    fixed = images(spatial, batch=2)
    aligned = loss(fixed, fixed)
    assert aligned.shape == ()
    for axis in range(2, fixed.ndim):
        for step in (-2, -1, 1, 2):
            assert loss(fixed.roll(step, axis), fixed) > aligned + 0.005


@pytest.mark.parametrize("spatial", SPATIAL)
def test_following_the_gradient_lowers_the_loss(loss, spatial, images) -> None:
    warped, fixed = images(spatial, 1).requires_grad_(), images(spatial, 2)
    before = loss(warped, fixed)
    (gradient,) = torch.autograd.grad(before, warped)
    assert loss(warped - 1e-3 * gradient / gradient.norm(), fixed) < before


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("spatial", SPATIAL)
@pytest.mark.parametrize("value", [0.0, 0.3, 0.93, 1.0])
def test_flat_images_give_finite_losses_and_gradients(loss, spatial, value, dtype, images) -> None:
    flat, texture = torch.full((1, 1, *spatial), value, dtype=dtype), images(spatial, dtype=dtype)
    for warped, fixed in [(flat, texture), (texture, flat), (flat, flat)]:
        warped = warped.clone().requires_grad_()
        found = loss(warped, fixed)
        (gradient,) = torch.autograd.grad(found, warped)
        assert found.dtype == dtype
        assert found.isfinite()
        assert gradient.isfinite().all()
        assert gradient.abs().max() < 10


@pytest.mark.parametrize("spatial", SPATIAL)
def test_a_mask_of_ones_is_no_mask(loss, spatial, images) -> None:
    warped, fixed = images(spatial, 1, batch=2), images(spatial, 2, batch=2)
    torch.testing.assert_close(loss(warped, fixed, torch.ones_like(fixed)), loss(warped, fixed))
    torch.testing.assert_close(loss(warped, fixed, torch.full_like(fixed, 0.3)), loss(warped, fixed))


@pytest.mark.parametrize("spatial", SPATIAL)
def test_values_beyond_the_masks_reach_do_not_matter(loss_and_reach, spatial, images) -> None:
    loss, reach = loss_and_reach
    warped, fixed = images(spatial, 1).requires_grad_(), images(spatial, 2)
    mask = torch.zeros_like(fixed)
    mask[(..., *[slice(None, side // 2) for side in spatial])] = 1
    (gradient,) = torch.autograd.grad(loss(warped, fixed, mask), warped)
    seen = torch.zeros_like(mask)
    seen[(..., *[slice(None, side // 2 + reach) for side in spatial])] = 1
    assert gradient.abs().max() > 0
    assert (gradient * (1 - seen)).abs().max() == 0
    changed = warped + (1 - seen) * images(spatial, 3)
    torch.testing.assert_close(loss(changed, fixed, mask), loss(warped, fixed, mask))


@pytest.mark.parametrize("spatial", SPATIAL)
def test_an_empty_mask_gives_zero_and_a_zero_gradient(loss, spatial, images) -> None:
    warped = images(spatial, 1).requires_grad_()
    found = loss(warped, images(spatial, 2), torch.zeros(1, 1, *spatial, dtype=torch.float64))
    (gradient,) = torch.autograd.grad(found, warped)
    assert found == 0
    assert gradient.abs().max() == 0


@pytest.mark.parametrize("spatial", SPATIAL)
def test_float32_agrees_with_float64(loss, spatial, images) -> None:
    warped, fixed = images(spatial, 1), images(spatial, 2)
    found = loss(warped.float(), fixed.float())
    assert float(found) == pytest.approx(float(loss(warped, fixed)), abs=1e-5)


@pytest.mark.parametrize("spatial", [(20, 23)])
def test_shapes_that_do_not_fit_are_named(loss, spatial) -> None:
    image = torch.rand(2, 1, *spatial)
    with pytest.raises(InputError, match=r"warped .*\(1, 1, 20, 23\)"):
        loss(image[:1], image)
    with pytest.raises(InputError, match=r"mask .*\(20, 23\)"):
        loss(image, image, image[0, 0])
    with pytest.raises(InputError, match="an image is"):
        loss(image[:, 0], image[:, 0])
    with pytest.raises(InputError, match="an image is"):
        loss(image.expand(-1, 2, -1, -1), image.expand(-1, 2, -1, -1))
