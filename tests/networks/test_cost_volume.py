from __future__ import annotations

import pytest
import torch
from torch import Tensor

from custom_components.networks import cost_volume
from custom_components.networks.cost_volume import shifted_volume


def brute_force(first: Tensor, second: Tensor, radius: int) -> Tensor:
    """Voxel by voxel, displacement by displacement."""
    batch, channels, height, width = first.shape
    window = 2 * radius + 1
    volume = first.new_zeros(batch, window**2, height, width)
    for row in range(height):
        for column in range(width):
            for k in range(window**2):
                other_row, other_column = row + k // window - radius, column + k % window - radius
                if 0 <= other_row < height and 0 <= other_column < width:
                    products = first[:, :, row, column] * second[:, :, other_row, other_column]
                    volume[:, k, row, column] = products.sum(1) / channels
    return volume


@pytest.mark.parametrize("radius", [0, 1, 2, 4, 6])
def test_agrees_with_brute_force(radius) -> None:
    first, second = torch.randn(2, 2, 3, 5, 7, dtype=torch.float64)
    torch.testing.assert_close(cost_volume(first, second, radius), brute_force(first, second, radius))


@pytest.mark.parametrize("width", [1, 15, 16, 17, 33])
def test_rows_of_any_length_agree_with_brute_force(width) -> None:
    first, second = torch.randn(2, 1, 2, 3, width, dtype=torch.float64)
    torch.testing.assert_close(cost_volume(first, second, 2), brute_force(first, second, 2))


def test_the_best_channel_names_the_displacement() -> None:
    first = torch.nn.functional.normalize(torch.randn(1, 32, 12, 14), dim=1)
    second = first.roll((2, -1), dims=(2, 3))  # second(x + (2, -1)) = first(x)
    best = cost_volume(first, second, 3)[:, :, 3:-3, 3:-3].argmax(1)
    assert torch.equal(best, torch.full_like(best, (2 + 3) * 7 + (-1 + 3)))


def test_its_gradient_is_that_of_finite_differences() -> None:
    pair = torch.randn(2, 1, 2, 3, 4, dtype=torch.float64).unbind()
    assert torch.autograd.gradcheck(lambda a, b: cost_volume(a, b, 2), [t.clone().requires_grad_() for t in pair])
    wide = torch.randn(2, 1, 1, 2, 18, dtype=torch.float64).unbind()
    assert torch.autograd.gradcheck(lambda a, b: cost_volume(a, b, 1), [t.clone().requires_grad_() for t in wide])


@pytest.mark.parametrize("shape", [(5, 7), (3, 33), (1, 1)])
def test_the_exporters_form_is_the_same(shape) -> None:
    first, second = torch.randn(2, 2, 3, *shape, dtype=torch.float64)
    torch.testing.assert_close(shifted_volume(first, second, 4), cost_volume(first, second, 4))


def test_an_exported_program_takes_other_sizes() -> None:
    class Volume(torch.nn.Module):
        def forward(self, pair: Tensor) -> Tensor:
            return cost_volume(pair[:, :4], pair[:, 4:], 2)

    sides = {2: torch.export.Dim("height", min=2), 3: torch.export.Dim("width", min=2)}
    program = torch.export.export(Volume(), (torch.randn(2, 8, 20, 24),), dynamic_shapes=(sides,), strict=False)
    pair = torch.randn(2, 8, 9, 35)
    torch.testing.assert_close(program.module()(pair), Volume()(pair))
