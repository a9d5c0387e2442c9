from __future__ import annotations

import pytest
import torch
from torch import nn

from custom_components.common.errors import InputError
from custom_components.losses import EndPointLoss, PyramidLoss


def test_each_level_counts_by_its_weight() -> None:
    label = torch.zeros(1, 2, 4, 4)
    fields = [torch.full_like(label, step) for step in (1.0, 2.0, 3.0)]
    found = PyramidLoss(nn.L1Loss(), weights=(0.5, 0.25, 2.0))(fields, label)
    assert found.item() == pytest.approx(0.5 * 1 + 0.25 * 2 + 2.0 * 3)


def test_by_default_the_finest_of_five_counts_most() -> None:
    label = torch.zeros(1, 2, 4, 4)
    shares = []
    for level in range(5):
        fields = [torch.full_like(label, float(index == level)) for index in range(5)]
        shares.append(PyramidLoss(nn.L1Loss())(fields, label).item())
    assert shares == pytest.approx([0.005, 0.01, 0.02, 0.08, 0.32])


def test_every_level_has_a_gradient() -> None:
    fields = [torch.randn(1, 2, 4, 4, requires_grad=True) for _ in range(5)]
    PyramidLoss(EndPointLoss())(fields, torch.ones(1, 3, 4, 4)).backward()
    assert all(field.grad is not None and field.grad.any() for field in fields)


def test_another_number_of_predictions_is_refused() -> None:
    with pytest.raises(InputError, match="1 predictions, but 2 weights"):
        PyramidLoss(nn.L1Loss(), weights=(1.0, 2.0))([torch.zeros(1)], torch.zeros(1))
    with pytest.raises(InputError, match="got none"):
        PyramidLoss(nn.L1Loss(), weights=())
