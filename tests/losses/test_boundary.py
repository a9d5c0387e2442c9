from __future__ import annotations

import pytest
import torch

from custom_components.common.errors import InputError
from custom_components.fields import identity_grid
from custom_components.losses import BoundaryLoss


@pytest.mark.parametrize("spatial", [(6, 8), (4, 5, 6)])
def test_inside_it_is_zero_with_a_zero_gradient(spatial) -> None:
    grid = identity_grid(spatial, dtype=torch.float64)
    last = torch.tensor(spatial).view(-1, *[1] * len(spatial)) - 1
    ddf = (0.8 * (last / 2 - grid) + last * 0.05)[None].requires_grad_()  # towards the centre
    identity = torch.zeros(1, len(spatial), *spatial, requires_grad=True)
    for field in (ddf, identity):
        loss = BoundaryLoss()(field)
        loss.backward()
        assert loss.item() == 0
        assert field.grad is not None
        assert not field.grad.any()


def test_a_constant_field_pushes_the_last_voxels_out() -> None:
    ddf = torch.zeros(1, 2, 6, 8)
    ddf[:, 1] = -3.0  # columns 0, 1, 2 end at -3, -2, -1
    assert BoundaryLoss()(ddf).item() == pytest.approx((3 + 2 + 1) / 8 / 10)
    ddf[:, 1] = 3.0
    assert BoundaryLoss()(ddf).item() == pytest.approx((3 + 2 + 1) / 8 / 10)


def test_beyond_a_corner_the_distance_is_that_to_the_corner() -> None:
    ddf = torch.zeros(1, 2, 6, 8)
    ddf[0, :, 5, 7] = torch.tensor([3.0, 4.0])
    assert BoundaryLoss()(ddf).item() == pytest.approx(5 / 48 / 10)


def test_its_gradient_is_that_of_finite_differences() -> None:
    ddf = 4 * torch.randn(2, 2, 4, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert torch.autograd.gradcheck(BoundaryLoss(), ddf.requires_grad_())


def test_what_is_no_field_is_refused() -> None:
    with pytest.raises(InputError, match="ddf"):
        BoundaryLoss()(torch.zeros(1, 3, 8, 8))
