"""What MONAI's ``DiffusionLoss`` is, measured by the smoothness R of key-point guided registration (SFG, PCG).

R is the mean squared forward difference of the field in voxels. MONAI takes central differences of the inner voxels,
sums over the axes and averages over the components: on smooth fields that is the sum over the axes of R's means.
"""

from __future__ import annotations

import math

import pytest
import torch
from monai.losses import DiffusionLoss
from torch import Tensor

from custom_components.fields import affine_to_ddf, identity_grid, smooth


def forward_differences(ddf: Tensor) -> Tensor:
    """Mean over components and voxels, summed over the axes."""
    return ddf.diff(dim=2).square().mean() + ddf.diff(dim=3).square().mean()


def test_they_are_equal_on_linear_fields() -> None:
    matrix = torch.tensor([[1.1, -0.2, 3.0], [0.05, 0.7, 1.0]], dtype=torch.float64)
    ddf = affine_to_ddf(matrix, (9, 12), torch.float64)
    torch.testing.assert_close(DiffusionLoss()(ddf), forward_differences(ddf))


def test_they_nearly_agree_on_smooth_fields() -> None:
    noise = torch.randn(1, 2, 128, 128, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    ddf = smooth(noise, 8.0)
    assert float(DiffusionLoss()(ddf) / forward_differences(ddf)) == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("wavelength", [4, 8, 16, 32])
def test_short_waves_cost_less_by_the_squared_cosine_of_half_their_phase_a_voxel(wavelength) -> None:
    """Half as much at 4 voxels, 85 % at 8, the shortest of a field that is interpolated from stride 4."""
    waves = torch.sin(2 * math.pi / wavelength * identity_grid((3, 10 * wavelength + 2), dtype=torch.float64)[1] + 0.3)
    ddf = torch.stack([waves, waves])[None]
    central = DiffusionLoss()(ddf)
    forward = ddf[..., :-1].diff(dim=3).square().mean()
    assert float(central / forward) == pytest.approx(math.cos(math.pi / wavelength) ** 2)


def test_a_field_that_alternates_from_voxel_to_voxel_costs_nothing() -> None:
    """So a field at full resolution, unlike one that is interpolated, needs another loss beside it."""
    row, column = identity_grid((8, 8))
    ddf = ((row + column) % 2).expand(1, 2, -1, -1)
    assert DiffusionLoss()(ddf) == 0
    assert forward_differences(ddf) == 2
