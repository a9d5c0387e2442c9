"""Terms of a registration's loss by closed forms, and MONAI's regulariser beside the source's."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from custom_components.common.errors import InputError
from custom_components.losses import DeepSimLoss, FieldLoss, ForwardDiffusionLoss
from custom_components.networks import FeatureEncoder


@pytest.mark.parametrize("spatial", [(6, 9), (4, 5, 6)])
@given(slope=st.floats(-2, 2))
def test_a_linear_field_costs_the_square_of_its_slope(spatial, slope) -> None:
    """The last row has no forward neighbour and counts as zero."""
    dimensions = len(spatial)
    ddf = torch.zeros(1, dimensions, *spatial, dtype=torch.float64)
    ddf[:, 0] = slope * torch.arange(spatial[0], dtype=torch.float64).view(-1, *(1,) * (dimensions - 1))
    wanted = slope**2 * (spatial[0] - 1) / spatial[0] / dimensions**2
    assert float(ForwardDiffusionLoss()(ddf)) == pytest.approx(wanted, abs=1e-12)


def test_brute_force() -> None:
    torch.manual_seed(0)
    ddf = torch.randn(2, 2, 3, 4, dtype=torch.float64)
    total = 0.0
    for b in range(2):
        for c in range(2):
            for i in range(3):
                for j in range(4):
                    down, right = ddf[b, c, min(i + 1, 2), j], ddf[b, c, i, min(j + 1, 3)]
                    total += 0.5 * ((down - ddf[b, c, i, j]) ** 2 + (right - ddf[b, c, i, j]) ** 2)
    assert float(ForwardDiffusionLoss()(ddf)) == pytest.approx(float(total) / ddf.numel())


def pair(labels: bool = True) -> torch.Tensor:
    torch.manual_seed(0)
    images = torch.rand(1, 2, 8, 10)
    maps = torch.zeros(1, 2, 8, 10)
    maps[:, 0, 2:4], maps[:, 1, 3:5] = 1, 1
    return torch.cat([images, maps], dim=1) if labels else images


def test_the_terms_add_up() -> None:
    loss = FieldLoss(nn.MSELoss(), regularization_weight=3.0, supervision=2.0, classes=2)
    ddf = 0.1 * torch.randn(1, 2, 8, 10)
    total = float(loss(ddf, pair()))
    assert total == pytest.approx(
        loss.loss_terms["similarity"] + 3 * loss.loss_terms["regularization"] + 2 * loss.loss_terms["supervision"],
        rel=1e-5,
    )


def test_the_direction_of_the_field() -> None:
    """What the fixed image shows at x the moving one shows at x + ddf(x); labels follow."""
    moving = torch.rand(1, 1, 8, 10)
    fixed = torch.cat([moving[:, :, 1:], moving[:, :, -1:]], dim=2)
    maps = pair()[:, 2:].flip(1)  # the moving label lies one row below the fixed one
    ddf = torch.zeros(1, 2, 8, 10)
    ddf[:, 0] = 1
    loss = FieldLoss(nn.MSELoss(), regularization_weight=0, supervision=1.0, classes=2)
    assert float(loss(ddf, torch.cat([moving, fixed, maps], dim=1))) == pytest.approx(0, abs=1e-10)
    loss(0 * ddf, torch.cat([moving, fixed, maps], dim=1))
    assert loss.loss_terms["supervision"] == pytest.approx(2 * 10 / 80)  # two of eight rows differ, in both classes


def test_a_similarity_of_fields_is_asked_for_the_field() -> None:
    torch.manual_seed(0)
    similarity = DeepSimLoss(FeatureEncoder(2, 1, (4,)), extract_before_transform=True)
    loss = FieldLoss(similarity, regularization_weight=0)
    images, ddf = torch.rand(1, 2, 8, 10), torch.full((1, 2, 8, 10), 2.0)
    assert float(loss(ddf, images)) == pytest.approx(float(similarity.of_field(images[:, :1], images[:, 1:], ddf)))


def test_supervision_needs_labels() -> None:
    ddf = torch.zeros(1, 2, 8, 10)
    with pytest.raises(InputError, match="number of classes"):
        FieldLoss(nn.MSELoss(), supervision=1.0)
    with pytest.raises(InputError, match="needs the label maps"):
        FieldLoss(nn.MSELoss(), supervision=1.0, classes=2)(ddf, pair(labels=False))
    wrong = pair()
    wrong[:, 2, 0, 0] = 2
    with pytest.raises(InputError, match="labels are 0 to 1, got 0 to 2"):
        FieldLoss(nn.MSELoss(), supervision=1.0, classes=2)(ddf, wrong)
