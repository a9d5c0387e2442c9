from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import map_coordinates
from torch import Tensor, nn

from custom_components.common.errors import InputError
from custom_components.matching import EncoderDescriptor
from custom_components.matching.patch_descriptors import cut_patches, describe_patches
from custom_components.networks.mask_flownet import MaskFlownetS


def small_network() -> MaskFlownetS:
    torch.manual_seed(0)
    return MaskFlownetS(channels=(4, 4, 8, 8, 8, 12), estimator_channels=(4,), context_channels=(4,) * 6)


def test_an_upright_patch_of_its_own_size_is_a_piece_of_the_image() -> None:
    image = torch.rand(1, 1, 20, 30)
    # eight pixels a side around a corner of four pixels
    patch = cut_patches(image, torch.tensor([[9.5, 14.5]]), 4.0, 0.0, 8)
    torch.testing.assert_close(patch[0, 0], image[0, 0, 6:14, 11:19])


@pytest.mark.parametrize("degrees", [0.0, 30.0, 90.0, 225.0])
def test_a_turned_patch_equals_scipy(degrees: float) -> None:
    image = torch.rand(1, 1, 40, 50)
    points = torch.tensor([[20.0, 25.0], [3.0, 47.0]])
    patches = cut_patches(image, points, 9.0, degrees, 6)
    axis = ((np.arange(6) + 0.5) / 6 * 2 - 1) * 9.0
    angle = np.deg2rad(degrees)
    for patch, (row, column) in zip(patches, points.numpy(), strict=True):
        rows = [[row + np.cos(angle) * a - np.sin(angle) * b for b in axis] for a in axis]
        columns = [[column + np.sin(angle) * a + np.cos(angle) * b for b in axis] for a in axis]
        expected = map_coordinates(image[0, 0].numpy(), [rows, columns], order=1, mode="grid-constant")
        np.testing.assert_allclose(patch[0].numpy(), expected, atol=1e-4)


def test_beyond_the_image_there_are_zeros() -> None:
    patch = cut_patches(torch.ones(1, 1, 10, 10), torch.tensor([[-0.5, 4.5]]), 4.0, 0.0, 8)[0, 0]
    assert patch[:4].tolist() == [[0.0] * 8] * 4
    assert patch[4:].tolist() == [[1.0] * 8] * 4


def test_turns_lie_side_by_side_and_sizes_in_groups() -> None:
    image = torch.rand(1, 1, 60, 60)
    points = torch.tensor([[30.0, 30.0], [28.0, 33.0], [25.0, 20.0]])
    described = describe_patches(
        image, points, lambda patches: patches.flatten(1), half_widths=(5, 9), rotations=4, size=4, batch=2
    )
    assert described.shape == (3, 2, 64)
    for group, width in enumerate((5, 9)):
        turns = torch.cat([cut_patches(image, points, width, 90.0 * k, 4).flatten(1) for k in range(4)], dim=1)
        torch.testing.assert_close(described[:, group], nn.functional.normalize(turns, dim=1))


def test_the_encoder_sees_patches_without_their_mean(tissue: Tensor) -> None:
    network = small_network()
    points = torch.tensor([[40.0, 50.0], [90.0, 60.0]])
    described = EncoderDescriptor(network, half_widths=(12, 20), rotations=2, batch=1)(tissue[..., :128, :128], points)
    assert described.shape == (2, 2, 24)
    torch.testing.assert_close(described.norm(dim=2), torch.ones(2, 2))
    patch = cut_patches(tissue[..., :128, :128], points, 20.0, 0.0, 64)
    with torch.no_grad():
        deepest = network.pyramid(patch - patch.mean(dim=(2, 3), keepdim=True))[-1].flatten(1)
    upright = described[:, 1, :12]
    torch.testing.assert_close(nn.functional.normalize(deepest, dim=1), nn.functional.normalize(upright, dim=1))


def test_brightness_is_no_matter_and_a_shift_moves_the_features(tissue: Tensor) -> None:
    describe = EncoderDescriptor(small_network(), half_widths=(10,), rotations=1)
    points = torch.tensor([[40.0, 50.0], [90.0, 60.5]])
    image = tissue[..., :128, :128]
    first = describe(image, points)
    torch.testing.assert_close(describe(image + 0.1, points), first, atol=1e-4, rtol=1e-3)
    shifted = describe(tissue[..., 7:128, 5:128], points - torch.tensor([7.0, 5.0]))
    torch.testing.assert_close(shifted, first, atol=1e-4, rtol=1e-3)


def test_no_points_give_no_descriptors(tissue: Tensor) -> None:
    assert EncoderDescriptor(small_network())(tissue[..., :64, :64], torch.zeros(0, 2)).shape[:2] == (0, 3)


def test_wrong_settings_are_refused() -> None:
    with pytest.raises(InputError, match="half_widths must be positive"):
        EncoderDescriptor(small_network(), half_widths=())
    with pytest.raises(InputError, match="1 or more, got 0, 64, 1024"):
        EncoderDescriptor(small_network(), rotations=0)
    with pytest.raises(InputError, match="Linear has no encoder 'pyramid'"):
        EncoderDescriptor(nn.Linear(1, 1))  # type: ignore[arg-type]
