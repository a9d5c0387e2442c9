from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from custom_components.common.errors import InputError, RegistrationError
from custom_components.fields import affine_to_ddf, warp
from custom_components.inferers import Estimate, PairImages
from custom_components.inferers.affine_alignment import rotation_about_centre
from custom_components.inferers.affine_network import AffineNetwork, voxel_matrix


class Fixed(nn.Module):
    """Gives what it was told, whatever it sees, and remembers what that was."""

    def __init__(self, *thetas: Tensor) -> None:
        super().__init__()
        self.thetas = list(thetas)
        self.seen: list[Tensor] = []

    def forward(self, image: Tensor) -> Tensor:
        self.seen.append(image)
        return self.thetas[min(len(self.seen), len(self.thetas)) - 1][None]


def theta_of(matrix: np.ndarray, shape: tuple[int, int]) -> Tensor:
    """(2, 3) corner-aligned theta of a voxel matrix on a grid."""
    amp = (np.array(shape) - 1) / 2
    to_voxels = np.diag([*amp, 1.0])
    to_voxels[:2, 2] = amp
    return torch.from_numpy((np.linalg.inv(to_voxels) @ matrix @ to_voxels)[:2]).float()


def pair(matrix: np.ndarray, shape: tuple[int, int]) -> PairImages:
    """A pair that ``matrix`` (fixed -> moving) aligns."""
    rows, columns = torch.meshgrid(*(torch.arange(side, dtype=torch.float32) for side in shape), indexing="ij")
    blob = torch.exp(-(((rows - shape[0] / 2.2) / 14) ** 2) - ((columns - shape[1] / 1.9) / 7) ** 2)
    fixed = blob[None, None]
    moving = warp(fixed, affine_to_ddf(np.linalg.inv(matrix), shape))
    return PairImages(moving, fixed, (moving > 0.1).float(), (fixed > 0.1).float())


def some_matrix(shape: tuple[int, int]) -> np.ndarray:
    matrix = rotation_about_centre(shape, 20.0)
    matrix[:2, :2] @= np.diag([1.1, 0.95])
    matrix[:2, 2] += [-3.0, 2.0]
    return matrix


@pytest.mark.parametrize("shape", [(96, 96), (81, 118)])
def test_theta_of_the_working_grid_comes_out_as_its_matrix(shape: tuple[int, int]) -> None:
    matrix = some_matrix(shape)
    estimate = AffineNetwork(Fixed(theta_of(matrix, shape)))(pair(matrix, shape), Estimate.identity(shape))
    np.testing.assert_allclose(estimate.affine, matrix, atol=1e-4)
    torch.testing.assert_close(estimate.ddf, affine_to_ddf(estimate.affine, shape))
    details = estimate.stages[-1].details
    assert details["passes"] == 1
    assert details["correlation"] > 0.97 > details["correlation_before"]


def test_theta_of_a_coarser_grid_is_carried_to_the_working_grid() -> None:
    shape, small = (90, 120), (30, 40)
    matrix = some_matrix(shape)
    # voxel i of the small grid is centred at 3 i + 1 of the large one
    to_large = np.array([[3.0, 0, 1], [0, 3, 1], [0, 0, 1]])
    network = Fixed(theta_of(np.linalg.inv(to_large) @ matrix @ to_large, small))
    estimate = AffineNetwork(network, size=30)(pair(matrix, shape), Estimate.identity(shape))
    assert network.seen[0].shape == (1, 2, *small)
    np.testing.assert_allclose(estimate.affine, matrix, atol=1e-4)


def test_the_network_sees_the_moving_image_first_warped_by_the_estimate() -> None:
    shape = (96, 96)
    matrix = some_matrix(shape)
    images = pair(matrix, shape)
    start = Estimate(affine_to_ddf(matrix, shape), matrix, *[Estimate.identity(shape).matches] * 2)
    network = Fixed(torch.eye(3)[:2])
    AffineNetwork(network)(images, start)
    torch.testing.assert_close(network.seen[0][:, :1], warp(images.moving, start.ddf))
    torch.testing.assert_close(network.seen[0][:, 1:], images.fixed)


def test_passes_multiply() -> None:
    shape = (96, 96)
    first, second = rotation_about_centre(shape, 12.0), np.eye(3)
    second[:2, 2] = [4.0, -5.0]
    whole = first @ second
    network = Fixed(theta_of(first, shape), theta_of(second, shape))
    estimate = AffineNetwork(network, passes=2, only_better=False)(pair(whole, shape), Estimate.identity(shape))
    np.testing.assert_allclose(estimate.affine, whole, atol=1e-4)


@pytest.mark.parametrize("wrong", [np.diag([1.0, -1.0, 1.0]), np.diag([3.0, 3.0, 1.0]), np.diag([1.4, 0.7, 1.0])])
def test_an_implausible_matrix_leaves_the_estimate(wrong: np.ndarray) -> None:
    shape = (64, 64)
    start = Estimate.identity(shape)
    estimate = AffineNetwork(Fixed(theta_of(wrong, shape)), only_better=False)(pair(np.eye(3), shape), start)
    assert estimate.ddf is start.ddf
    assert estimate.affine is start.affine
    assert estimate.stages[-1].details["refused"]


def test_a_worse_matrix_is_refused_on_request() -> None:
    shape = (64, 64)
    images, worse = pair(np.eye(3), shape), theta_of(rotation_about_centre(shape, 15.0), shape)
    kept = AffineNetwork(Fixed(worse))(images, Estimate.identity(shape))
    assert np.array_equal(kept.affine, np.eye(3))
    assert "correlation" in str(kept.stages[-1].details["refused"])
    taken = AffineNetwork(Fixed(worse), only_better=False)(images, Estimate.identity(shape))
    assert not np.allclose(taken.affine, np.eye(3))


def test_broken_output_is_named() -> None:
    shape = (64, 64)
    images = pair(np.eye(3), shape)
    with pytest.raises(RegistrationError, match="weights"):
        AffineNetwork(Fixed(torch.full((2, 3), torch.nan)))(images, Estimate.identity(shape))
    with pytest.raises(InputError, match="2, 3"):
        AffineNetwork(Fixed(torch.eye(3)))(images, Estimate.identity(shape))


def test_corner_aligned_means_the_last_voxel_is_at_one() -> None:
    theta = torch.tensor([[[1.0, 0, 2 / 10], [0, 1, -2 / 20]]])
    np.testing.assert_allclose(voxel_matrix(theta, (11, 21))[:2, 2], [1, -1], atol=1e-6)
