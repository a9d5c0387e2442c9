"""Rounded absolute differences of grey values, edges and a field's neighbours, by closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from custom_components.common.errors import InputError
from custom_components.losses import CharbonnierLoss, FieldVariationLoss, similarity_named
from custom_components.losses.charbonnier import charbonnier

SPATIAL = [(6, 9), (4, 5, 6)]

each_dimension = pytest.mark.parametrize("spatial", SPATIAL, ids=["2-D", "3-D"])


def rho(value: float, epsilon: float = 1e-3) -> float:
    return math.sqrt(value**2 + epsilon**2) - epsilon


@settings(deadline=None, derandomize=True)
@given(value=st.floats(-100, 100), epsilon=st.floats(1e-4, 1.0))
def test_rho_is_even_zero_at_zero_and_the_absolute_value_less_at_most_epsilon(value, epsilon) -> None:
    found = float(charbonnier(torch.tensor(value, dtype=torch.float64), epsilon))
    assert found == pytest.approx(float(charbonnier(torch.tensor(-value, dtype=torch.float64), epsilon)))
    assert abs(value) - epsilon - 1e-9 <= found <= abs(value) + 1e-9
    assert float(charbonnier(torch.tensor(0.0, dtype=torch.float64), epsilon)) == pytest.approx(0, abs=1e-12)


@each_dimension
@settings(deadline=None, derandomize=True, max_examples=20)
@given(step=st.floats(-2, 2), weight=st.sampled_from([0.0, 20.0]))
def test_a_constant_difference_costs_rho_of_it_and_no_edges(spatial, step, weight) -> None:
    image = torch.rand(2, 1, *spatial, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert float(CharbonnierLoss(weight)(image + step, image)) == pytest.approx(rho(step), abs=1e-9)


@each_dimension
@pytest.mark.parametrize("weight", [0.0, 3.0])
def test_equal_images_cost_nothing_and_have_a_finite_gradient(spatial, weight) -> None:
    warped = torch.zeros(1, 1, *spatial)
    warped[:, :, 1:3, 1:3] = 0.5
    warped.requires_grad_()
    loss = CharbonnierLoss(weight)(warped, warped.detach().clone())
    loss.backward()
    assert loss.item() == pytest.approx(0, abs=1e-9)
    assert torch.isfinite(warped.grad).all()


@each_dimension
def test_the_edge_term_of_a_ramp_beside_a_constant_image(spatial) -> None:
    """A slope of 0.1 along the first axis, whose last row counts as flat."""
    rows = spatial[0]
    ramp = 0.1 * torch.arange(rows, dtype=torch.float64).view(1, 1, -1, *[1] * (len(spatial) - 1)).expand(
        1, 1, *spatial
    )
    flat = torch.zeros_like(ramp)
    grey = np.mean([rho(0.1 * row) for row in range(rows)])
    edge = rho(math.sqrt(0.1**2 + 1e-6) - 1e-3) * (rows - 1) / rows
    assert float(CharbonnierLoss()(ramp, flat)) == pytest.approx(grey)
    assert float(CharbonnierLoss(20.0)(ramp, flat)) == pytest.approx(grey + 20 * edge)
    assert float(CharbonnierLoss(20.0)(ramp.flip(2), ramp)) > float(CharbonnierLoss(20.0)(ramp, ramp))


@each_dimension
def test_edges_of_either_direction_are_alike(spatial) -> None:
    """Lengths of gradients are compared, so that inverted grey values cost the first term alone."""
    image = torch.rand(1, 1, *spatial, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert float(CharbonnierLoss(5.0)(1 - image, image)) == pytest.approx(float(CharbonnierLoss()(1 - image, image)))


@each_dimension
def test_only_the_ratios_of_a_mask_count(spatial) -> None:
    generator = torch.Generator().manual_seed(0)
    warped, fixed, mask = torch.rand(3, 2, 1, *spatial, dtype=torch.float64, generator=generator)
    loss = CharbonnierLoss(2.0)
    assert float(loss(warped, fixed, 7 * mask)) == pytest.approx(float(loss(warped, fixed, mask)))
    assert float(loss(warped, fixed, torch.full_like(mask, 0.3))) == pytest.approx(float(loss(warped, fixed)))
    wanted = sum(
        rho(w - f) * m for w, f, m in zip(*(x.flatten().tolist() for x in (warped, fixed, mask)), strict=True)
    ) / float(mask.sum())
    assert float(CharbonnierLoss()(warped, fixed, mask)) == pytest.approx(wanted)
    one = torch.zeros_like(mask)
    one[1, 0].flatten()[5] = 0.25
    alone = rho(float((warped - fixed)[1, 0].flatten()[5]))
    assert float(CharbonnierLoss()(warped, fixed, one)) == pytest.approx(alone)
    assert float(CharbonnierLoss()(warped, fixed, 0 * one)) == 0


@each_dimension
@settings(deadline=None, derandomize=True, max_examples=20)
@given(slope=st.floats(-2, 2))
def test_a_linear_field_costs_rho_of_its_slope_for_one_component_and_axis(spatial, slope) -> None:
    dimensions = len(spatial)
    ddf = torch.zeros(2, dimensions, *spatial, dtype=torch.float64)
    ddf[:, 0] = slope * torch.arange(spatial[0], dtype=torch.float64).view(-1, *[1] * (dimensions - 1))
    assert float(FieldVariationLoss()(ddf)) == pytest.approx(rho(slope) / dimensions**2, abs=1e-9)


@each_dimension
def test_a_field_costs_the_mean_over_its_axes_by_brute_force(spatial) -> None:
    ddf = np.random.default_rng(0).normal(size=(2, len(spatial), *spatial))
    axes = [np.mean([rho(step, 0.1) for step in np.diff(ddf, axis=axis).flat]) for axis in range(2, ddf.ndim)]
    assert float(FieldVariationLoss(0.1)(torch.from_numpy(ddf))) == pytest.approx(np.mean(axes))


@each_dimension
def test_a_constant_field_costs_nothing_and_has_a_finite_gradient(spatial) -> None:
    ddf = torch.full((1, len(spatial), *spatial), 3.0, requires_grad=True)
    loss = FieldVariationLoss()(ddf)
    loss.backward()
    assert loss.item() == 0
    assert torch.isfinite(ddf.grad).all()


def test_one_jump_costs_as_much_as_the_same_rise_over_many_voxels() -> None:
    """Unlike the square of a diffusion loss, which would have a field bend everywhere."""
    jump, rise = torch.zeros(2, 1, 2, 5, 9, dtype=torch.float64)
    jump[:, 0, :, 5:] = 4
    rise[:, 0] = torch.linspace(0, 4, 9, dtype=torch.float64)
    losses = [float(FieldVariationLoss()(ddf)) for ddf in (jump, rise)]
    assert losses[0] == pytest.approx(losses[1], rel=0.02)


def test_it_has_a_name() -> None:
    loss = similarity_named("charbonnier", gradient_weight=20.0)
    assert isinstance(loss, CharbonnierLoss)
    assert loss.gradient_weight == 20
    with pytest.raises(InputError, match="similarity is mse, charbonnier, ncc, nmi, mind, deepsim, got 'l1'"):
        similarity_named("l1")


def test_wrong_input_is_refused() -> None:
    image = torch.rand(1, 1, 5, 6)
    for kind in (CharbonnierLoss, FieldVariationLoss):
        with pytest.raises(InputError, match="epsilon is positive"):
            kind(epsilon=0.0)
    with pytest.raises(InputError, match="warped has the shape"):
        CharbonnierLoss()(image[..., 1:], image)
    with pytest.raises(InputError, match="mask has the shape"):
        CharbonnierLoss()(image, image, image[..., 1:])
    with pytest.raises(InputError):
        FieldVariationLoss()(image)
