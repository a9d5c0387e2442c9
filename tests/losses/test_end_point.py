from __future__ import annotations

import pytest
import torch

from custom_components.common.errors import InputError
from custom_components.losses import EndPointLoss


@pytest.mark.parametrize("spatial", [(5, 7), (3, 4, 5)])
def test_a_constant_difference_costs_its_smoothed_length(spatial):
    dimensions = len(spatial)
    known = torch.randn(2, dimensions, *spatial, dtype=torch.float64)
    step = torch.tensor([3.0, 4.0, 12.0][:dimensions], dtype=torch.float64)
    label = torch.cat([known, torch.ones(2, 1, *spatial, dtype=torch.float64)], dim=1)
    loss = EndPointLoss(smooth=0.5)(known + step.view(1, -1, *[1] * dimensions), label)
    length = {2: 5.0, 3: 13.0}[dimensions]
    assert loss.item() == pytest.approx((length**2 + 0.25) ** 0.5 - 0.5)


def test_voxels_count_by_their_weight():
    label = torch.zeros(1, 3, 2, 2)
    label[0, 2] = torch.tensor([[1.0, 0.5], [0.0, 0.0]])
    ddf = torch.zeros(1, 2, 2, 2)
    ddf[0, 0] = torch.tensor([[3.0, 6.0], [100.0, 1000.0]])
    assert EndPointLoss(smooth=1e-4)(ddf, label).item() == pytest.approx((3 + 0.5 * 6) / 1.5, abs=1e-3)


def test_without_weight_it_is_zero_with_a_zero_gradient():
    ddf = torch.randn(1, 2, 4, 4, requires_grad=True)
    loss = EndPointLoss()(ddf, torch.cat([torch.randn(1, 2, 4, 4), torch.zeros(1, 1, 4, 4)], dim=1))
    loss.backward()
    assert loss.item() == 0
    assert not ddf.grad.any()


def test_at_equal_fields_it_is_zero_with_a_zero_gradient():
    ddf = torch.randn(1, 2, 4, 4, requires_grad=True)
    loss = EndPointLoss()(ddf, torch.cat([ddf.detach(), torch.ones(1, 1, 4, 4)], dim=1))
    loss.backward()
    assert loss.item() == 0
    assert not ddf.grad.any()


def test_its_gradient_is_that_of_finite_differences():
    label = torch.cat([torch.randn(1, 2, 3, 3), torch.rand(1, 1, 3, 3)], dim=1).double()
    ddf = torch.randn(1, 2, 3, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda field: EndPointLoss()(field, label), ddf)


@pytest.mark.parametrize("smooth", [0.0, -1.0])
def test_without_smoothing_it_is_refused(smooth):
    with pytest.raises(InputError, match="smooth is a positive number"):
        EndPointLoss(smooth)
