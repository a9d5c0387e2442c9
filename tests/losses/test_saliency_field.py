"""The loss of a global-to-local network: its terms, and what weights them, by explicit computations."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from custom_components.common.errors import InputError
from custom_components.fields import warp
from custom_components.losses import (
    CharbonnierLoss,
    EndPointLoss,
    FieldVariationLoss,
    ForwardDiffusionLoss,
    SaliencyFieldLoss,
    similarity_named,
)

SPATIAL = [(11, 14), (9, 10, 11)]

each_dimension = pytest.mark.parametrize("spatial", SPATIAL, ids=["2-D", "3-D"])


def drawn(spatial: tuple[int, ...], known: bool = False) -> tuple[Tensor, Tensor]:
    """A prediction with every stage, and a pair, with a known field if asked for."""
    torch.manual_seed(0)
    dimensions = len(spatial)
    fields, joint = torch.randn(2, 2 * dimensions, *spatial), torch.rand(2, 1, *spatial)
    pair = [torch.rand(2, 2, *spatial)]
    if known:
        pair += [torch.randn(2, dimensions, *spatial), (torch.rand(2, 1, *spatial) > 0.3).float()]
    return torch.cat([fields, joint], dim=1), torch.cat(pair, dim=1)


def error(ddf: Tensor, pair: Tensor) -> Tensor:
    """rho of the grey values, voxel by voxel."""
    difference = warp(pair[:, :1], ddf, padding_mode="border") - pair[:, 1:2]
    return torch.sqrt(difference.square() + 1e-6) - 1e-3


@each_dimension
def test_a_field_alone_costs_similarity_and_roughness(spatial) -> None:
    prediction, pair = drawn(spatial)
    ddf = prediction[:, : len(spatial)]
    loss = SaliencyFieldLoss(CharbonnierLoss(), regularization_weight=0.3, weighting="mismatch")
    wanted = error(ddf, pair).mean() + 0.3 * FieldVariationLoss()(ddf)
    torch.testing.assert_close(loss(ddf, pair), wanted)
    assert loss.loss_terms == pytest.approx({"similarity": error(ddf, pair).mean().item(),
                                          "regularization": 0.3 * FieldVariationLoss()(ddf).item()})  # fmt: skip


@each_dimension
def test_the_direction_of_the_field(spatial) -> None:
    """What the fixed image shows at x the moving one shows at x + ddf(x)."""
    moving = torch.rand(1, 1, *spatial)
    fixed = torch.cat([moving[:, :, 1:], moving[:, :, -1:]], dim=2)
    ddf = torch.zeros(1, len(spatial), *spatial)
    ddf[:, 0] = 1
    loss = SaliencyFieldLoss(CharbonnierLoss())
    pair = torch.cat([moving, fixed], dim=1)
    assert loss(ddf, pair).item() == pytest.approx(0, abs=1e-6)
    assert loss(0 * ddf, pair).item() > 0.1


@each_dimension
@settings(deadline=None, derandomize=True, max_examples=15)
@given(weight=st.floats(0, 3))
def test_the_coarse_field_costs_the_same_by_its_weight(spatial, weight) -> None:
    prediction, pair = drawn(spatial)
    dimensions = len(spatial)
    loss = SaliencyFieldLoss(CharbonnierLoss(), coarse_weight=weight)
    refined, coarse = (loss(prediction[:, i * dimensions : (i + 1) * dimensions], pair).item() for i in range(2))
    assert loss(prediction, pair).item() == pytest.approx(refined + weight * coarse, rel=1e-5)
    assert sum(loss.loss_terms.values()) == pytest.approx(refined, rel=1e-5)  # of the refined field


@each_dimension
@pytest.mark.parametrize("strength", [0.0, 0.4, 1.0])
@pytest.mark.parametrize("weighting", ["mismatch", "overlap", "none"])
def test_the_weightings(spatial, weighting, strength) -> None:
    prediction, pair = drawn(spatial)
    ddf, joint = prediction[:, : len(spatial)], prediction[:, -1:]
    weights = {
        "mismatch": 1 + strength * (1 - joint),
        "overlap": 1 - strength + strength * joint,
        "none": torch.ones_like(joint),
    }
    weight = weights[weighting]
    loss = SaliencyFieldLoss(CharbonnierLoss(), 0.0, coarse_weight=0.0, weighting=weighting, strength=strength)
    torch.testing.assert_close(loss(prediction, pair), (weight * error(ddf, pair)).sum() / weight.sum())


def test_mismatch_pushes_where_structures_disagree_and_overlap_leaves_that_out() -> None:
    prediction, pair = torch.zeros(1, 5, 8, 8), torch.zeros(1, 2, 8, 8)
    pair[:, 0, 2:4, 2:4] = 1  # only the moving image has it
    prediction[:, -1] = 1 - pair[:, 0]
    losses = {
        weighting: SaliencyFieldLoss(CharbonnierLoss(), coarse_weight=0.0, weighting=weighting)(prediction, pair).item()
        for weighting in ("none", "mismatch", "overlap")
    }
    assert losses["overlap"] == pytest.approx(0, abs=1e-6)
    assert losses["none"] == pytest.approx(4 / 64, rel=1e-2)
    assert losses["mismatch"] == pytest.approx(8 / 68, rel=1e-2)


@pytest.mark.parametrize("name", ["charbonnier", "ncc", "nmi", "mind"])
@pytest.mark.parametrize("weighting", ["none", "mismatch", "overlap"])
def test_every_named_similarity_that_takes_a_mask_gives_a_finite_gradient(name, weighting) -> None:
    prediction, pair = drawn((24, 26))
    prediction.requires_grad_()
    loss = SaliencyFieldLoss(similarity_named(name), weighting=weighting)(prediction, pair)
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(prediction.grad).all()
    assert prediction.grad[:, :2].any()


@each_dimension
@pytest.mark.parametrize("weighting", ["none", "mismatch", "overlap"])
def test_no_gradient_passes_through_the_weight(spatial, weighting) -> None:
    prediction, pair = drawn(spatial)
    prediction.requires_grad_()
    SaliencyFieldLoss(CharbonnierLoss(), weighting=weighting)(prediction, pair).backward()
    assert not prediction.grad[:, -1].any()
    assert prediction.grad[:, : len(spatial)].any()
    assert prediction.grad[:, len(spatial) : -1].any()


@each_dimension
def test_the_truth_is_the_end_point_loss_of_both_fields(spatial) -> None:
    prediction, pair = drawn(spatial, known=True)
    dimensions = len(spatial)
    with_truth, without = (SaliencyFieldLoss(CharbonnierLoss(), coarse_weight=0.5, epe_weight=t) for t in (0.2, 0.0))
    ends = [EndPointLoss()(prediction[:, i * dimensions : (i + 1) * dimensions], pair[:, 2:]).item() for i in range(2)]
    added = with_truth(prediction, pair).item() - without(prediction, pair).item()
    assert added == pytest.approx(0.2 * (ends[0] + 0.5 * ends[1]), rel=1e-4)
    assert with_truth.loss_terms["end_point_error"] == pytest.approx(0.2 * ends[0])
    assert "end_point_error" not in without.loss_terms


@each_dimension
def test_pairs_of_unknown_displacement_add_nothing_to_the_truth(spatial) -> None:
    prediction, pair = drawn(spatial, known=True)
    pair[:, -1] = 0
    found = [SaliencyFieldLoss(CharbonnierLoss(), epe_weight=t)(prediction, pair).item() for t in (0.0, 5.0)]
    assert found[0] == pytest.approx(found[1])


def test_another_regulariser_is_asked() -> None:
    prediction, pair = drawn(SPATIAL[0])
    loss = SaliencyFieldLoss(nn.MSELoss(), 2.0, ForwardDiffusionLoss(), coarse_weight=0.0)
    loss(prediction, pair)
    assert loss.loss_terms["regularization"] == pytest.approx(2 * ForwardDiffusionLoss()(prediction[:, :2]).item())


@each_dimension
def test_equal_images_and_no_displacement_cost_nothing_with_a_finite_gradient(spatial) -> None:
    prediction = torch.zeros(1, 2 * len(spatial) + 1, *spatial, requires_grad=True)
    image = torch.rand(1, 1, *spatial)
    loss = SaliencyFieldLoss(CharbonnierLoss(1.0), weighting="mismatch")(prediction, image.expand(-1, 2, *spatial))
    loss.backward()
    assert loss.item() == pytest.approx(0, abs=1e-5)
    assert torch.isfinite(prediction.grad).all()


def test_wrong_settings_and_channels_are_refused() -> None:
    with pytest.raises(InputError, match="weighting is none, mismatch, overlap, got 'saliency'"):
        SaliencyFieldLoss(CharbonnierLoss(), weighting="saliency")
    for weighting, strength in (("mismatch", -0.1), ("overlap", 1.1)):
        with pytest.raises(InputError, match="the strength of a weighting is at least 0, of overlap at most 1"):
            SaliencyFieldLoss(CharbonnierLoss(), weighting=weighting, strength=strength)
    prediction, pair = drawn(SPATIAL[0])
    with pytest.raises(InputError, match="a prediction is a ddf, or ddf, coarse ddf and saliency; got"):
        SaliencyFieldLoss(CharbonnierLoss())(prediction[:, 1:], pair)
    with pytest.raises(InputError, match="epe_weight needs pairs of known displacement"):
        SaliencyFieldLoss(CharbonnierLoss(), epe_weight=1.0)(prediction, pair)


def test_a_weighting_that_cannot_work_is_refused() -> None:
    with pytest.raises(InputError, match="mse takes no weights"):
        SaliencyFieldLoss(similarity_named("mse"), weighting="mismatch")
    prediction, pair = drawn((11, 14))
    prediction[:, -1] = 0  # as the networks without joint saliency give it
    with pytest.raises(InputError, match="stages forward or backward"):
        SaliencyFieldLoss(CharbonnierLoss(), weighting="overlap")(prediction, pair)
