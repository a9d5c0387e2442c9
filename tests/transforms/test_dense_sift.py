from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from custom_components.common.errors import InputError
from custom_components.fields import smooth
from custom_components.transforms import DenseSIFT, dense_sift
from custom_components.transforms.dense_sift import cell_weights, normalise, orientation_maps


def texture(height: int = 40, width: int = 46, seed: int = 0) -> Tensor:
    noise = torch.rand(1, 1, height, width, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    return smooth(noise, 1.0)


def brute_force(image: np.ndarray, row: int, column: int, cell: float, bins: int) -> np.ndarray:
    """Descriptor of one voxel of a smoothed image: voxel by voxel into the cells and bins about it, then normalised."""
    down, right = np.gradient(image)
    histogram = np.zeros((bins, 4, 4))
    for r, c in np.ndindex(*image.shape):
        length = math.hypot(down[r, c], right[r, c])
        angle = math.degrees(math.atan2(down[r, c], right[r, c])) % 360
        for k, i, j in np.ndindex(bins, 4, 4):
            turn = abs(angle - 360 / bins * k)
            turn = min(turn, 360 - turn) / (360 / bins)
            away = abs(r - row - cell * (i - 1.5)) / cell, abs(c - column - cell * (j - 1.5)) / cell
            histogram[k, i, j] += length * max(1 - turn, 0) * max(1 - away[0], 0) * max(1 - away[1], 0)
    vector = histogram.ravel() / np.linalg.norm(histogram)
    vector = np.minimum(vector, 0.2)
    return vector / np.linalg.norm(vector)


@pytest.mark.parametrize(("cell", "bins"), [(3, 8), (2, 6), (1.5, 8)])
def test_agrees_with_brute_force_inside_and_at_the_border(cell, bins) -> None:
    image = texture(18, 20)
    found = dense_sift(image, cell, bins, sigma=0.8)[0].numpy()
    smoothed = smooth(image, 0.8)[0, 0].numpy()
    for row, column in [(9, 10), (0, 0), (17, 5), (3, 19)]:
        np.testing.assert_allclose(found[:, row, column], brute_force(smoothed, row, column, cell, bins), atol=1e-9)


@pytest.mark.parametrize("step", [2, 3, 4, 50])
def test_a_step_takes_every_so_many_descriptors(step) -> None:
    image = texture().expand(2, -1, -1, -1)
    found = dense_sift(image, step=step)
    assert found.shape == (2, 128, math.ceil(40 / step), math.ceil(46 / step))
    torch.testing.assert_close(found, dense_sift(image)[:, :, ::step, ::step])


def test_it_moves_with_the_image() -> None:
    image = texture(60, 60)
    found, moved = dense_sift(image), dense_sift(image.roll((3, -2), dims=(2, 3)))
    torch.testing.assert_close(moved.roll((-3, 2), dims=(2, 3))[..., 15:-15, 15:-15], found[..., 15:-15, 15:-15])


@pytest.mark.parametrize(("factor", "offset"), [(0.2, 0.0), (1.0, 0.7), (5.0, -3.0)])
def test_brightness_and_contrast_do_not_matter(factor, offset) -> None:
    image = texture()
    torch.testing.assert_close(dense_sift(factor * image + offset), dense_sift(image))
    single = dense_sift((factor * image + offset).float())
    torch.testing.assert_close(single, dense_sift(image).float(), atol=2e-3, rtol=0)


def test_descriptors_have_length_one_and_no_dominant_entry() -> None:
    found = dense_sift(texture())
    torch.testing.assert_close(found.norm(dim=1), torch.ones(1, 40, 46, dtype=torch.float64))
    assert found.min() >= 0
    clipped = normalise(torch.tensor([10.0, *[1.0] * 127]).view(1, -1, 1, 1)).clamp(max=0.2)
    torch.testing.assert_close(clipped[0, 0], torch.full((1, 1), 0.2))


@pytest.mark.parametrize("level", [0.0, 0.3, 1.0])
def test_a_flat_image_gives_zeros_and_no_nan(level) -> None:
    image = torch.full((1, 1, 33, 37), level, requires_grad=True)
    found = dense_sift(image, step=2)
    assert not found.any()
    found.square().sum().backward()
    assert image.grad is not None
    assert not image.grad.any()


def test_a_flat_part_gives_zeros_and_finite_gradients() -> None:
    image = torch.zeros(1, 1, 64, 64)
    image[..., :20] = torch.rand(1, 1, 64, 20)
    image.requires_grad_()
    found = dense_sift(image)
    assert found[..., :20].any()
    assert not found[..., 50:].any()
    (found * torch.rand_like(found)).sum().backward()
    assert image.grad is not None
    assert image.grad.isfinite().all()
    assert image.grad.any()


def test_its_gradient_is_that_of_finite_differences() -> None:
    image = texture(7, 8).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: dense_sift(x, cell=1.5, step=3), image, atol=1e-4)


@pytest.mark.parametrize("degrees", [0, 45, 100, 180, 350])
def test_a_ramp_falls_into_the_bins_next_to_its_direction(degrees) -> None:
    angle = math.radians(degrees)
    rows, columns = torch.meshgrid(*[torch.arange(9, dtype=torch.float64)] * 2, indexing="ij")
    ramp = 0.5 * (math.sin(angle) * rows + math.cos(angle) * columns)
    found = orientation_maps(ramp[None, None])
    wanted = torch.zeros(8, dtype=torch.float64)
    low, fraction = divmod(degrees / 45, 1)
    wanted[int(low) % 8] += 0.5 * (1 - fraction)
    wanted[(int(low) + 1) % 8] += 0.5 * fraction
    torch.testing.assert_close(found, wanted.view(1, -1, 1, 1).expand_as(found))


@pytest.mark.parametrize("cell", [1.0, 2.0, 3.0, 5.0])
def test_cells_share_what_lies_between_them(cell) -> None:
    weights = cell_weights(cell, torch.float64)
    reach = weights.shape[1] // 2
    steps = torch.arange(-reach, reach + 1)
    between = (cell * weights).sum(0)[steps.abs() <= 1.5 * cell]
    torch.testing.assert_close(between, torch.ones_like(between))
    torch.testing.assert_close(weights.flip(0, 1), weights)
    assert not weights[:, steps.abs() >= 2.5 * cell].any()


def test_scales_follow_one_another() -> None:
    image = texture().float()
    found = DenseSIFT(step=2, scales=(1, 2))(image)
    assert found.shape == (1, 256, 20, 23)
    assert torch.equal(found[:, :128], dense_sift(image, step=2))
    assert torch.equal(found[:, 128:], dense_sift(image, cell=6, step=2, sigma=2.0))


def test_a_larger_scale_describes_what_a_smaller_image_shows() -> None:
    large = smooth(texture(120, 120), 2.0)
    small = torch.nn.functional.avg_pool2d(large, 2)  # voxel i of it is 2 i + 1/2 of the large one
    found = DenseSIFT(scales=(2,))(large)
    between = torch.nn.functional.avg_pool2d(found, 2)
    likeness = (normalise(between) * dense_sift(small)).sum(1)
    assert likeness[:, 12:-12, 12:-12].min() > 0.97


def test_what_does_not_fit_is_refused() -> None:
    for shape in [(1, 3, 9, 9), (9, 9), (1, 1, 1, 9)]:
        with pytest.raises(InputError, match="dense SIFT takes"):
            dense_sift(torch.zeros(shape))
    for options in ({"cell": 0}, {"bins": 1}, {"step": 0}, {"sigma": -1}):
        with pytest.raises(InputError, match="are positive"):
            dense_sift(torch.zeros(1, 1, 9, 9), **options)
    for scales in ((), (1, 0)):
        with pytest.raises(InputError, match="scales"):
            DenseSIFT(scales=scales)
