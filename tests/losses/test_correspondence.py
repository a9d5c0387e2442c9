from __future__ import annotations

import pytest
import torch

from custom_components.losses import CorrespondenceLoss


def test_answers_and_ways_back_that_are_right_cost_nothing() -> None:
    target = torch.rand(2, 5, 4)
    assert CorrespondenceLoss()(target, target) == 0


def test_the_way_back_counts_where_it_nearly_returns_only() -> None:
    target = torch.zeros(1, 2, 4)
    pred = target.clone()
    pred[0, 0] = torch.tensor([0.1, 0.0, 0.03, 0.0])  # back by 0.03, which is near
    pred[0, 1] = torch.tensor([0.0, 0.2, 0.5, 0.0])  # back by 0.5, which says nothing
    there, back = (0.1**2 + 0.2**2) / 4, 0.03**2 / 2
    assert CorrespondenceLoss(reach=0.04)(pred, target).item() == pytest.approx(there + back, rel=1e-5)
    assert CorrespondenceLoss(reach=0.01)(pred, target).item() == pytest.approx(there, rel=1e-5)


def test_distances_in_place_of_squares() -> None:
    target = torch.zeros(1, 2, 4)
    pred = target.clone()
    pred[0, 0] = torch.tensor([0.03, 0.04, 0.0, 0.02])
    pred[0, 1] = torch.tensor([0.0, 0.2, 0.5, 0.0])  # its way back says nothing
    loss = CorrespondenceLoss(reach=0.04, squared=False)(pred, target).item()
    assert loss == pytest.approx((0.05 + 0.2) / 2 + 0.02, abs=2e-4)
