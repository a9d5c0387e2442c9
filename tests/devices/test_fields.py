"""Every function on fields that takes tensors gives on another device what it gives on the CPU, 2-D and 3-D.

Functions are found in ``fields.__all__`` by their annotations: a new one needs a call here.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map

from custom_components import fields

Move = Callable[[Tensor], Tensor]


def matrix(dimensions: int) -> np.ndarray:
    turn = np.eye(dimensions + 1)
    turn[:2, :2] = [[0.9, -0.3], [0.3, 0.9]]
    turn[:-1, -1] = 2.5
    return turn


def ddf(dimensions: int, seed: int = 0) -> Tensor:
    rng = torch.Generator().manual_seed(seed)
    return fields.smooth(3 * torch.randn(1, dimensions, 18, 20, *[16] * (dimensions - 2), generator=rng), 2.0)


def image(dimensions: int) -> Tensor:
    return torch.rand(1, 1, 18, 20, *[16] * (dimensions - 2), generator=torch.Generator().manual_seed(2))


def points(dimensions: int) -> Tensor:
    return 15 * torch.rand(12, dimensions, generator=torch.Generator().manual_seed(3))


CALLS: dict[str, Callable[[int, Move], Any]] = {
    "nonrigid_part": lambda d, to: fields.nonrigid_part(matrix(d), to(ddf(d))),
    "affine_to_ddf": lambda d, to: fields.affine_to_ddf(to(torch.from_numpy(matrix(d)).float()), (8,) * d),
    "best_affine": lambda d, to: fields.best_affine(to(ddf(d))),
    "compose": lambda d, to: fields.compose(to(ddf(d)), to(ddf(d, 1))),
    "compose_affine": lambda d, to: fields.compose_affine(matrix(d), to(ddf(d))),
    "displacement_image": lambda d, to: np.asarray(
        fields.displacement_image(to(ddf(d)), np.eye(d + 1), np.eye(d + 1)).GetSize()
    ),
    "folding_share": lambda d, to: fields.folding_share(to(4 * ddf(d)), to(image(d))),
    "invert": lambda d, to: fields.invert(to(ddf(d))),
    "jacobian_determinant": lambda d, to: fields.jacobian_determinant(to(ddf(d))),
    "log_jacobian_deviation": lambda d, to: fields.log_jacobian_deviation(to(ddf(d)), to(image(d))),
    "sample_at": lambda d, to: fields.sample_at(to(ddf(d)), to(points(d))),
    "points_to_ddf": lambda d, to: fields.points_to_ddf(to(points(d)), to(points(d) / 5), (16,) * d),
    "repair_folds": lambda d, to: fields.repair_folds(to(6 * ddf(d))),
    "resize": lambda d, to: fields.resize(to(ddf(d)), (9, 30, 8)[:d]),
    "robust_spline": lambda d, to: fields.robust_spline(
        to(points(d)), to(points(d) / 5), (16,) * d, spacing=6.0, smoothness=1.0, weights=to(torch.ones(12)), scale=1.0
    ),
    "sample": lambda d, to: fields.sample(to(image(d)), to(fields.identity_grid((5,) * d)[None] + 0.3)),
    "smooth": lambda d, to: fields.smooth(to(image(d)), 1.5),
    "warp": lambda d, to: fields.warp(to(image(d)), to(ddf(d))),
}


def takes_tensors(function: Any) -> bool:
    return inspect.isfunction(function) and any(
        "Tensor" in str(parameter.annotation) for parameter in inspect.signature(function).parameters.values()
    )


def test_every_function_that_takes_tensors_is_called_here():
    assert {name for name in fields.__all__ if takes_tensors(getattr(fields, name))} == set(CALLS)


def _compare(found: Any, wanted: Any, device: torch.device, name: str) -> None:
    for part, expected in zip(tree_leaves(found), tree_leaves(wanted), strict=True):
        if isinstance(part, Tensor):
            if name not in ON_CPU:
                assert part.device == device
            part = part.cpu()
        np.testing.assert_allclose(np.asarray(part), np.asarray(expected), rtol=1e-4, atol=2e-4)


ON_CPU = ("affine_to_ddf", "points_to_ddf", "robust_spline", "best_affine")  # computed by SciPy, or of a few numbers


@pytest.mark.parametrize("dimensions", [2, 3])
@pytest.mark.parametrize("name", sorted(CALLS))
def test_a_function_on_fields_stays_on_its_device(device, name, dimensions):
    wanted = CALLS[name](dimensions, lambda tensor: tensor)
    found = CALLS[name](dimensions, lambda tensor: tensor.to(device))
    _compare(found, wanted, device, name)


@pytest.mark.parametrize("dimensions", [2, 3])
@pytest.mark.parametrize("name", sorted(CALLS))
def test_a_function_on_fields_does_without_double_precision(single_precision_device, name, dimensions):
    wanted = CALLS[name](dimensions, lambda tensor: tensor)
    found = CALLS[name](dimensions, lambda tensor: tensor.to(single_precision_device))
    _compare(found, wanted, single_precision_device, name)


def test_gradients_pass_through_an_affine_without_double_precision(single_precision_device):
    residual = tree_map(lambda part: part.to(single_precision_device), ddf(2)).requires_grad_()
    fields.compose_affine(matrix(2), residual).square().sum().backward()
    assert residual.grad.device == single_precision_device
    here = ddf(2).requires_grad_()
    fields.compose_affine(matrix(2), here).square().sum().backward()
    assert torch.allclose(residual.grad.cpu(), here.grad, rtol=1e-4, atol=1e-3)
