"""The guided loss: its terms are those of its parts, its gradient leads to the correspondences."""

from __future__ import annotations

import pytest
import torch

from custom_components.common.errors import InputError
from custom_components.fields import smooth, warp
from custom_components.losses import CurvatureLoss, GuidedLoss, KeypointDistanceLoss, WindowedNCCLoss
from custom_components.transforms import DenseSIFT

SHAPE = (32, 40)


def item(sources: int = 1, points: int = 5) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    where = torch.rand(1, sources, points, 2, generator=generator) * 20 + 5
    return {
        "image": torch.rand(1, 2, *SHAPE, generator=generator),
        "mask": torch.ones(1, 2, *SHAPE),
        "points_fixed": where,
        "points_moving": where + torch.tensor([2.0, -1.0]),
        "valid": torch.ones(1, sources, points),
    }


def test_the_terms_add_up():
    data, ddf = item(2), torch.rand(1, 2, *SHAPE)
    loss = GuidedLoss(keypoints=(30.0, 10.0), regularization_weight=2.0)
    total = float(loss(ddf, data))
    parts = loss.loss_terms
    assert total == pytest.approx(
        parts["similarity"] + 2 * parts["regularization"] + 30 * parts["keypoints_0"] + 10 * parts["keypoints_1"],
        rel=1e-5,
    )
    expected = KeypointDistanceLoss()(ddf, data["points_fixed"][:, 1], data["points_moving"][:, 1])
    assert parts["keypoints_1"] == pytest.approx(float(expected), rel=1e-6)


def test_leaving_the_image_costs_where_it_has_a_weight():
    data, ddf = item(), torch.full((1, 2, *SHAPE), 500.0)
    free, dear = (GuidedLoss(keypoints=(1.0,), boundary=weight) for weight in (0.0, 3.0))
    difference = float(dear(ddf, data)) - float(free(ddf, data))
    assert difference == pytest.approx(3 * dear.loss_terms["boundary"], rel=1e-4)
    assert difference > 1
    assert "boundary" not in free.loss_terms


@pytest.mark.parametrize("features", [None, DenseSIFT(), DenseSIFT(step=4)])
def test_equal_images_without_displacement_cost_nothing(features):
    data = item()
    data["image"] = data["image"][:, :1].repeat(1, 2, 1, 1)
    loss = GuidedLoss(features=features)
    data["valid"] = data["valid"][:, :0]
    assert float(loss(torch.zeros(1, 2, *SHAPE), data)) == pytest.approx(0, abs=1e-3)


@pytest.mark.parametrize("features", [None, DenseSIFT(step=4)])
def test_the_true_translation_costs_less_than_none_and_its_opposite(features):
    image = torch.nn.functional.interpolate(torch.rand(1, 1, 12, 12), (56, 64), mode="bicubic").clamp(0, 1)
    # fixed(x) = moving(x + (4, 8))
    data = {"image": torch.cat([image[..., :48, :52], image[..., 4:52, 8:60]], dim=1), "valid": torch.zeros(1, 0, 0)}
    loss = GuidedLoss(features=features, regularization_weight=0.0)
    costs = [
        float(loss(sign * torch.tensor([4.0, 8.0]).view(1, 2, 1, 1).expand(1, 2, 48, 52), data)) for sign in (1, 0, -1)
    ]
    assert costs[0] < min(costs[1:])


def test_the_last_of_several_predictions_counts():
    data, ddf = item(), torch.rand(1, 2, *SHAPE)
    loss = GuidedLoss(keypoints=(1.0,))
    assert float(loss([torch.rand(1, 2, *SHAPE), ddf], data)) == float(loss(ddf, data))


def test_descending_brings_the_points_together():
    data, ddf = item(points=30), torch.zeros(1, 2, *SHAPE, requires_grad=True)
    loss = GuidedLoss(keypoints=(100.0,), regularization_weight=10.0)
    optimizer = torch.optim.Adam([ddf], lr=0.2)
    distances = []
    for _ in range(40):
        optimizer.zero_grad()
        loss(ddf, data).backward()
        optimizer.step()
        distances.append(loss.loss_terms["keypoints_0"])
    assert distances[-1] < 0.3 * distances[0]


def test_sources_without_a_weight_are_refused():
    with pytest.raises(InputError, match="2 sources of correspondences, but 1 weights"):
        GuidedLoss(keypoints=(1.0,))(torch.zeros(1, 2, *SHAPE), item(2))


def test_the_figures_go_with_the_loss_of_the_trainers_output():
    loss = GuidedLoss(keypoints=(1.0,))
    total = loss(torch.zeros(1, 2, *SHAPE), item())
    assert loss.logged_terms([{"loss": total}]).keys() == {"loss", "similarity", "regularization", "keypoints_0"}


def test_another_similarity_and_regulariser_of_the_smoothed_field():
    data, ddf = item(), 3 * torch.randn(1, 2, *SHAPE)
    data["mask"][:, 0, :, :10] = 0
    loss = GuidedLoss(
        keypoints=(1.0,),
        similarity=WindowedNCCLoss(),
        regulariser=CurvatureLoss(),
        regularization_weight=5.0,
        field_sigma=3.0,
    )
    total = float(loss(ddf, data))
    used = smooth(ddf, 3.0)
    common = data["mask"][:, 1:] * warp(data["mask"][:, :1], used)
    wanted = WindowedNCCLoss()(warp(data["image"][:, :1], used), data["image"][:, 1:], common)
    assert loss.loss_terms["similarity"] == pytest.approx(float(wanted), abs=1e-6)
    assert loss.loss_terms["regularization"] == pytest.approx(float(CurvatureLoss()(used)))
    points = KeypointDistanceLoss()(used, data["points_fixed"][:, 0], data["points_moving"][:, 0])
    assert total == pytest.approx(float(wanted) + 5 * loss.loss_terms["regularization"] + float(points), rel=1e-5)
