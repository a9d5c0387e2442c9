from __future__ import annotations

import pytest
import torch
from torch import Tensor

from custom_components.common.errors import InputError
from custom_components.fields import affine_to_ddf, apply_matrix, sample_at
from custom_components.losses import KeypointDistanceLoss


def example(count: int = 6) -> tuple[Tensor, Tensor, Tensor]:
    """Random field (2, 2, 7, 9) and points (2, count, 2) inside it, float64."""
    generator = torch.Generator().manual_seed(0)
    ddf = torch.randn(2, 2, 7, 9, dtype=torch.float64, generator=generator)
    size = torch.tensor([6.0, 8.0], dtype=torch.float64)
    first, second = size * torch.rand(2, 2, count, 2, dtype=torch.float64, generator=generator)
    return ddf, first, second


@pytest.mark.parametrize("spatial", [(30, 40), (12, 9, 20)])
def test_a_constant_field_leaves_the_distance_less_its_step(spatial) -> None:
    dimensions = len(spatial)
    points = torch.full((1, 4, dimensions), 3.5)
    ddf = torch.ones(1, dimensions, *spatial)
    away = points + torch.tensor([4.0, 5.0, 1.0][:dimensions])  # (3, 4, 0) from where the field leads
    diagonal = {2: 50.0, 3: 25.0}[dimensions]
    assert KeypointDistanceLoss()(ddf, points, away, torch.ones(1, 4)).item() == pytest.approx(5 / diagonal)


def test_weights_choose_among_the_points_of_the_whole_batch() -> None:
    ddf, fixed, moving = example()
    valid = torch.rand(2, 6, dtype=torch.float64)
    total = 0.0
    for field, start, end, weights in zip(ddf, fixed, moving, valid, strict=True):
        distance = (start + sample_at(field[None], start) - end).norm(dim=1)
        total += float((distance * weights).sum())
    wanted = total / float(valid.sum()) / (7**2 + 9**2) ** 0.5
    assert KeypointDistanceLoss()(ddf, fixed, moving, valid).item() == pytest.approx(wanted)


def test_without_weights_all_points_count_alike() -> None:
    ddf, fixed, moving = example()
    loss = KeypointDistanceLoss()
    assert loss(ddf, fixed, moving) == loss(ddf, fixed, moving, torch.ones(2, 6, dtype=torch.bool))


def test_the_affine_that_made_the_points_costs_nothing() -> None:
    matrix = torch.tensor([[1.05, 0.02, -1.0], [-0.03, 0.97, 0.5], [0, 0, 1]], dtype=torch.float64)
    _, fixed, _ = example()
    ddf = affine_to_ddf(matrix, (7, 9), torch.float64)
    moving = torch.as_tensor(apply_matrix(matrix.numpy(), fixed[0].numpy()))[None]
    assert KeypointDistanceLoss()(ddf, fixed[:1], moving, torch.ones(1, 6)).item() < 1e-12


def test_padding_has_no_influence_whatever_its_coordinates() -> None:
    ddf, fixed, moving = example()
    ddf.requires_grad_()
    loss = KeypointDistanceLoss()
    wanted = loss(ddf, fixed[:, :4], moving[:, :4], torch.ones(2, 4))
    (gradient,) = torch.autograd.grad(wanted, ddf)
    valid = torch.tensor([[1.0, 1, 1, 1, 0, 0]]).expand(2, -1)
    for filler in (0.0, -1e9, torch.nan):
        fixed[:, 4:] = moving[:, 4:] = filler
        found = loss(ddf, fixed, moving, valid)
        assert found.item() == pytest.approx(wanted.item())
        torch.testing.assert_close(torch.autograd.grad(found, ddf)[0], gradient)


@pytest.mark.parametrize(("count", "weight"), [(0, 1.0), (3, 0.0)])
def test_without_points_it_is_zero_with_a_zero_gradient(count, weight) -> None:
    ddf = torch.randn(2, 2, 5, 6, requires_grad=True)
    points = torch.rand(2, count, 2)
    loss = KeypointDistanceLoss()(ddf, points, points, torch.full((2, count), weight))
    loss.backward()
    assert loss.item() == 0
    assert ddf.grad is not None
    assert not ddf.grad.any()


@pytest.mark.parametrize("smooth", [0.0, 0.5])
def test_points_that_have_arrived_have_no_gradient(smooth) -> None:
    ddf = torch.zeros(1, 2, 5, 6, requires_grad=True)
    points = torch.rand(1, 3, 2)
    loss = KeypointDistanceLoss(smooth)(ddf, points, points)
    loss.backward()
    assert loss.item() == 0
    assert ddf.grad is not None
    assert not ddf.grad.any()


def test_a_smoothed_distance_is_charbonniers() -> None:
    points = torch.full((1, 1, 2), 2.0)
    moving = points + torch.tensor([3.0, 4.0])
    found = KeypointDistanceLoss(smooth=2.0)(torch.zeros(1, 2, 6, 8), points, moving)
    assert found.item() == pytest.approx(((25 + 4) ** 0.5 - 2) / 10)


@pytest.mark.parametrize("smooth", [0.0, 0.5])
def test_its_gradient_is_that_of_finite_differences(smooth) -> None:
    ddf, fixed, moving = example(3)
    valid = torch.tensor([[1.0, 0.5, 0.0], [1.0, 1.0, 1.0]])
    loss = KeypointDistanceLoss(smooth)
    assert torch.autograd.gradcheck(lambda field: loss(field, fixed, moving, valid), ddf.requires_grad_())


def test_what_does_not_fit_is_refused() -> None:
    ddf, fixed, moving = example()
    loss = KeypointDistanceLoss()
    for wrong in ((fixed[0], moving[0]), (fixed, moving[:, :5]), (fixed[:1], moving[:1]), (fixed[..., :1],) * 2):
        with pytest.raises(InputError, match=r"points are \(2, N, 2\), got"):
            loss(ddf, *wrong)
    with pytest.raises(InputError, match=r"valid is \(2, 6\).*got \(2, 5\)"):
        loss(ddf, fixed, moving, torch.ones(2, 5))
    with pytest.raises(InputError, match="smooth is a number of voxels, 0 or more, got -1"):
        KeypointDistanceLoss(-1.0)
