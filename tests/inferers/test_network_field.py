"""One pass of a network over the whole pair: sizes, units, composition, and images without contrast."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from custom_components.fields import affine_to_ddf, compose
from custom_components.inferers import Estimate, NetworkField, PairImages

SHAPE = (90, 121)


class Constant(nn.Module):
    """The same displacement everywhere; remembers what it saw."""

    def __init__(self, row: float, column: float) -> None:
        super().__init__()
        self.step = torch.tensor([row, column]).view(1, 2, 1, 1)
        self.seen: list[Tensor] = []

    def forward(self, image: Tensor) -> Tensor:
        self.seen.append(image)
        return self.step.expand(1, 2, *image.shape[2:])


def images(shape: tuple[int, int] = SHAPE) -> PairImages:
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(2, 1, 12, 14, generator=generator)
    moving, fixed = nn.functional.interpolate(coarse, shape, mode="bicubic").clamp(0, 1).split(1)
    return PairImages(moving, fixed, torch.ones_like(moving), torch.ones_like(moving))


def start(matrix: np.ndarray | None = None) -> Estimate:
    estimate = Estimate.identity(SHAPE)
    if matrix is None:
        return estimate
    return Estimate(affine_to_ddf(matrix, SHAPE), matrix, estimate.matches, estimate.dropped)


def test_the_field_of_a_smaller_pass_is_scaled_to_the_working_grid():
    network = Constant(1.0, -2.0)
    found = NetworkField(network, sizes=[60])(images(), start())
    assert network.seen[0].shape[2:] == (45, 60)
    expected = torch.tensor([90 / 45, -2 * 121 / 60])
    assert torch.allclose(found.ddf[0, :, 45, 60], expected, atol=1e-4)
    assert found.stages[-1].name == "network"


def test_a_smaller_pair_is_enlarged_and_the_field_scaled_back():
    network = Constant(4.0, -2.0)
    found = NetworkField(network, sizes=[242])(images(), start())
    assert network.seen[0].shape[2:] == (180, 242)
    assert torch.allclose(found.ddf[0, :, 45, 60], torch.tensor([2.0, -1.0]), atol=1e-4)


def test_passes_are_composed_and_see_the_image_warped_so_far():
    network = Constant(2.0, 3.0)
    pair = images()
    found = NetworkField(network, sizes=[121, 121])(pair, start())
    assert torch.allclose(found.ddf[0, :, 40, 50], torch.tensor([4.0, 6.0]), atol=1e-5)
    assert torch.allclose(network.seen[1][0, 0, 20:60, 20:60], pair.moving[0, 0, 22:62, 23:63], atol=1e-5)
    assert torch.equal(network.seen[1][:, 1:], pair.fixed)


def test_the_network_comes_after_the_affine():
    matrix = np.array([[0.9, -0.2, 12.0], [0.1, 1.1, -7.0], [0, 0, 1]])
    found = NetworkField(Constant(1.0, 2.0), sizes=[121], minimum_jacobian=None)(images(), start(matrix))
    step = torch.tensor([1.0, 2.0]).view(1, 2, 1, 1).expand(1, 2, *SHAPE)
    expected = compose(affine_to_ddf(matrix, SHAPE), step)
    inside = (..., slice(5, -5), slice(5, -5))
    assert torch.allclose(found.ddf[inside], expected[inside], atol=1e-3)
    assert np.array_equal(found.affine, matrix)


@pytest.mark.parametrize("side", ["moving", "fixed"])
def test_an_image_without_contrast_gives_no_displacement(side):
    pair = images()
    flat = {name: getattr(pair, name) for name in ("moving", "fixed", "moving_mask", "fixed_mask")}
    flat[side] = torch.full_like(pair.fixed, 0.5)
    found = NetworkField(Constant(3.0, 3.0), sizes=[121])(PairImages(**flat), start())
    assert not found.ddf.any()


def test_a_folding_field_is_repaired():
    class Folding(nn.Module):
        def forward(self, image: Tensor) -> Tensor:
            rows = torch.arange(image.shape[2]).view(-1, 1).expand(image.shape[2:])
            return torch.stack([8 * torch.sin(rows / 3), torch.zeros(rows.shape)])[None]

    found = NetworkField(Folding(), sizes=[121])(images(), start())
    details = found.stages[-1].details
    assert details["folding_before_repair"] > 0.1
    assert details["folding"] == 0


def test_half_precision_gives_a_field_in_single_precision():
    network = nn.Conv2d(2, 2, 3, padding=1)
    full, amp = (NetworkField(network, [121], amp=amp)(images(), start()).ddf for amp in (False, True))
    assert amp.dtype == torch.float32
    assert torch.allclose(full, amp, atol=0.05)
