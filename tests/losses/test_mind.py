from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from custom_components.common.errors import InputError
from custom_components.losses import MINDSSCLoss, mind_ssc
from custom_components.losses.mind import neighbour_pairs

SPATIAL = [(7, 9), (5, 6, 4)]


def brute_force(image: np.ndarray, radius: int, dilation: int, floor: float) -> np.ndarray:
    """(channels, *spatial) descriptor voxel by voxel, patch by patch."""
    dimensions = image.ndim
    units = np.concatenate([-np.eye(dimensions, dtype=int), np.eye(dimensions, dtype=int)])
    found = {}

    def value(position: np.ndarray) -> float:
        return float(image[tuple(np.clip(position, 0, np.array(image.shape) - 1))])

    pairs = [(a, b) for a, b in neighbour_pairs(dimensions)]
    assert {frozenset(p) for p in pairs} == {
        frozenset((tuple(a), tuple(b))) for a, b in itertools.combinations(units, 2) if np.linalg.norm(a - b) < 1.5
    }
    for index in np.ndindex(*image.shape):
        distance = np.array(
            [
                np.mean(
                    [
                        (value(index + dilation * np.array(a) + p) - value(index + dilation * np.array(b) + p)) ** 2
                        for p in itertools.product(range(-radius, radius + 1), repeat=dimensions)
                    ]
                )
                for a, b in pairs
            ]
        )
        distance -= distance.min()
        found[index] = np.exp(-distance / max(distance.mean(), floor))
    return np.stack([found[i] for i in np.ndindex(*image.shape)], axis=-1).reshape(-1, *image.shape)


@pytest.mark.parametrize(("radius", "dilation"), [(1, 1), (1, 2), (0, 1)])
@pytest.mark.parametrize("spatial", SPATIAL)
def test_descriptor_agrees_with_brute_force(spatial, radius, dilation, images) -> None:
    image = images(spatial)
    wanted = brute_force(image[0, 0].numpy(), radius, dilation, 1e-6)
    np.testing.assert_allclose(mind_ssc(image, radius, dilation)[0], wanted, atol=1e-9)


def test_there_are_four_pairs_in_2d_and_twelve_in_3d() -> None:
    assert len(neighbour_pairs(2)) == 4
    assert len(neighbour_pairs(3)) == 12


@pytest.mark.parametrize("spatial", SPATIAL)
@pytest.mark.parametrize(("factor", "shift"), [(0.4, 0.3), (-1.0, 1.0), (3.0, -2.0)])
def test_affine_changes_of_grey_and_inversion_do_not_matter(spatial, factor, shift, images) -> None:
    image = images(spatial)
    changed = mind_ssc(factor * image + shift, minimum_variance=0)
    torch.testing.assert_close(changed, mind_ssc(image, minimum_variance=0))
    assert float(MINDSSCLoss()(factor * image + shift, image)) < 1e-3


def test_flat_images_have_the_same_descriptor_and_faint_noise_hardly_another() -> None:
    flat = torch.full((1, 1, 16, 16), 0.7)
    assert torch.equal(mind_ssc(flat), torch.ones(1, 4, 16, 16))
    assert mind_ssc(flat + 1e-4 * torch.rand_like(flat)).min() > 0.95


@pytest.mark.parametrize("absolute", [False, True])
def test_loss_is_the_mean_difference_of_descriptors(absolute, images) -> None:
    warped, fixed, mask = (images((8, 9), seed) for seed in (1, 2, 3))
    difference = np.abs((mind_ssc(warped, 1, 2) - mind_ssc(fixed, 1, 2)).numpy())
    wanted = np.average((difference if absolute else difference**2).mean(1, keepdims=True), weights=mask)
    assert float(MINDSSCLoss(1, 2, absolute)(warped, fixed, mask)) == pytest.approx(wanted)
    assert MINDSSCLoss(1, 2, absolute)(fixed, fixed) == 0


@pytest.mark.parametrize(("radius", "dilation"), [(-1, 2), (2, 0)])
def test_wrong_arguments_are_refused(radius, dilation) -> None:
    with pytest.raises(InputError, match="radius"):
        MINDSSCLoss(radius, dilation)
