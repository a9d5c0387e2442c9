"""The warp that scripts equals MONAI's, in value and gradient."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from custom_components import fields
from custom_components.networks.warp import warp

SPATIAL = [(13, 18), (1, 7), (7, 5, 9)]

each_size = pytest.mark.parametrize("spatial", SPATIAL)


def drawn(spatial: tuple[int, ...], channels: int = 3, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    """An image and a field that leaves it."""
    torch.manual_seed(0)
    return torch.rand(2, channels, *spatial, dtype=dtype), 3 * torch.randn(2, len(spatial), *spatial, dtype=dtype)


@pytest.mark.parametrize("spatial", [SPATIAL[0], SPATIAL[2]])
@pytest.mark.parametrize("channels", [1, 4])
def test_it_is_monais_warp_that_goes_on_beyond_the_border(spatial, channels) -> None:
    image, ddf = drawn(spatial, channels)
    torch.testing.assert_close(warp(image, ddf), fields.warp(image, ddf, padding_mode="border"), atol=1e-6, rtol=0)


@each_size
def test_no_displacement_changes_nothing(spatial) -> None:
    image, ddf = drawn(spatial)
    torch.testing.assert_close(warp(image, 0 * ddf), image)


@pytest.mark.parametrize(("axis", "step"), [(0, 2.0), (1, -1.0), (2, 1.5)])
def test_what_lies_at_x_comes_from_x_plus_the_field(axis, step) -> None:
    image, ddf = drawn((9, 11, 8))
    ddf = torch.zeros_like(ddf)
    ddf[:, axis] = step
    last = image.size(axis + 2) - 1
    places = (torch.arange(last + 1) + step).clamp(0, last)
    low, fraction = places.floor().long(), (places % 1).double().view([-1 if i == axis else 1 for i in range(3)])
    wanted = (1 - fraction) * image.index_select(axis + 2, low) + fraction * image.index_select(
        axis + 2, (low + 1).clamp(max=last)
    )
    torch.testing.assert_close(warp(image, ddf), wanted)


@pytest.mark.parametrize("spatial", [(5, 6), (3, 4, 5)])
def test_gradients_are_those_of_finite_differences(spatial) -> None:
    image, ddf = drawn(spatial, 2)
    ddf = 0.1 + 0.3 * torch.rand_like(ddf)  # between voxels, where the warp has a derivative
    assert torch.autograd.gradcheck(warp, (image.requires_grad_(), ddf.requires_grad_()))


@each_size
def test_scripted_it_gives_the_same(spatial) -> None:
    image, ddf = drawn(spatial, dtype=torch.float32)
    assert torch.equal(torch.jit.script(warp)(image, ddf), warp(image, ddf))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["float32 field", "bfloat16 field"])
def test_mixed_precision_does_not_move_voxels(dtype) -> None:
    image, ddf = drawn((200, 210), 1, torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        found = warp(image, (0 * ddf).to(dtype))
    torch.testing.assert_close(found.float(), image, atol=1e-4, rtol=0)
