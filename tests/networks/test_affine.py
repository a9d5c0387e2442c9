from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from custom_components.common.errors import InputError
from custom_components.fields import affine_to_ddf, identity_grid, warp
from custom_components.losses import PatchNCCLoss
from custom_components.networks import AffineNet, PatchAffineNet, theta_to_matrix
from custom_components.networks.affine import DownUnit

TINY = {"whole": lambda: AffineNet(width=2), "patches": lambda: PatchAffineNet(patch_size=16, width=2)}
IDENTITY = torch.eye(3)[:2]


@pytest.fixture(params=TINY)
def network(request) -> nn.Module:
    torch.manual_seed(0)
    return TINY[request.param]()


def random_theta(dimensions: int, batch: int = 2) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(batch, dimensions, dimensions + 1, dtype=torch.float64, generator=generator)
    return torch.eye(dimensions + 1, dtype=torch.float64)[:-1] + 0.15 * noise


def stir(network: nn.Module) -> None:
    """Give the last layer weights, so that the output depends on the input."""
    nn.init.normal_(network.theta.weight)


@pytest.mark.parametrize("spatial", [(14, 19), (7, 8, 9)])
def test_the_matrix_warps_as_affine_grid_does(spatial) -> None:
    theta = random_theta(len(spatial))
    moving = torch.rand(2, 1, *spatial, dtype=torch.float64)
    # affine_grid has x, y[, z]
    turned = torch.cat([theta[:, :, :-1].flip(1, 2), theta[:, :, -1:].flip(1)], dim=2)
    grid = F.affine_grid(turned, [2, 1, *spatial], align_corners=True)
    wanted = F.grid_sample(moving, grid, align_corners=True)
    matrices = theta_to_matrix(theta, spatial)
    assert matrices.shape == (2, len(spatial) + 1, len(spatial) + 1)
    ddf = torch.cat([affine_to_ddf(matrix, spatial, torch.float64) for matrix in matrices])
    torch.testing.assert_close(warp(moving, ddf), wanted)


def test_the_matrix_has_the_closed_form() -> None:
    """The axes change places about the centre (2, 4), then the row shifts by half of 2."""
    theta = torch.tensor([[[0.0, 1.0, 0.5], [1.0, 0.0, 0.0]]])
    wanted = torch.tensor([[[0.0, 0.5, 1.0], [2.0, 0.0, 0.0], [0.0, 0.0, 1.0]]])
    torch.testing.assert_close(theta_to_matrix(theta, (5, 9)), wanted)
    torch.testing.assert_close(theta_to_matrix(IDENTITY[None], (1, 9)), torch.eye(3)[None])


@pytest.mark.parametrize("spatial", [(16, 16), (9, 40), (37, 21), (33, 64)])
def test_training_starts_at_the_identity_for_any_size(network, spatial) -> None:
    theta = network(torch.rand(2, 2, *spatial))
    torch.testing.assert_close(theta, IDENTITY.expand(2, -1, -1))
    ddf = affine_to_ddf(theta_to_matrix(theta, spatial)[0].detach(), spatial)
    assert ddf.abs().max() < 1e-5


def test_default_layers_are_those_of_the_source() -> None:
    def convolutions(module: nn.Module) -> list[tuple[int, ...]]:
        """(outputs, inputs, kernel, stride, padding) of each."""
        found = [m for m in module.modules() if isinstance(m, nn.Conv2d)]
        return [(m.out_channels, m.in_channels, m.kernel_size[0], m.stride[0], int(m.padding[0])) for m in found]

    def down(c: int) -> list[tuple[int, ...]]:
        return [(2 * c, c, 3, 2, 3), (2 * c, 2 * c, 3, 1, 1), (2 * c, c, 3, 2, 3)]

    def plain(c: int) -> list[tuple[int, ...]]:
        return [(c, c, 3, 1, 1)] * 2

    whole = convolutions(AffineNet())
    units = [*down(64), *plain(128), *down(128), *plain(256), *down(256), *down(512)]
    assert whole == [(64, 2, 7, 2, 3), *units, (512, 1024, 3, 2, 1), (256, 512, 3, 2, 1)]
    patches = PatchAffineNet()
    assert convolutions(patches.extractor) == [(32, 1, 7, 2, 3), *down(32), *down(64), *down(128), *plain(256)]
    assert convolutions(patches.pairing) == [(256, 512, 3, 2, 1), (256, 256, 3, 2, 1)]
    assert convolutions(patches.grid) == [(256, 256, 3, 1, 1)] * 2
    assert patches.patch_size == 224
    norms = [m for part in (AffineNet(), patches.extractor) for m in part.modules() if isinstance(m, nn.GroupNorm)]
    whole_norms = [m for m in AffineNet().modules() if isinstance(m, nn.GroupNorm)]
    assert [m.num_groups for m in whole_norms[-2:]] == [1, 1]  # see the docstring
    assert all(m.num_groups == m.num_channels for m in norms if m.num_groups > 1)
    assert sum(m.num_groups == 1 for m in norms) == 2


@pytest.mark.parametrize("spatial", [(1, 2), (5, 6), (8, 11)])
def test_a_down_unit_halves_and_doubles(spatial) -> None:
    wanted = tuple((side + 5) // 2 for side in spatial)
    assert DownUnit(3)(torch.rand(2, 3, *spatial)).shape == (2, 6, *wanted)


@pytest.mark.parametrize("image", [torch.rand(2, 2, 20, 35), torch.full((1, 2, 16, 16), 0.4)])
def test_gradients_reach_every_parameter_and_are_finite(network, image) -> None:
    stir(network)
    network(image).square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())
    assert all(p.grad.abs().max() > 0 for p in network.theta.parameters())


def test_the_scripted_network_gives_the_same_affine_at_any_size(network) -> None:
    stir(network)
    scripted = torch.jit.script(network)
    for spatial in [(16, 32), (23, 41)]:
        image = torch.rand(2, 2, *spatial)
        torch.testing.assert_close(scripted(image), network(image))


def test_pairs_of_a_batch_do_not_see_each_other(network) -> None:
    stir(network)
    images = torch.rand(3, 2, 20, 37)
    torch.testing.assert_close(network(images)[1:2], network(images[1:2]), atol=1e-4, rtol=1e-4)


def test_patches_go_back_to_where_they_came_from() -> None:
    """The vector at a place of the grid depends on the patch of that place alone."""
    network = PatchAffineNet(patch_size=16, width=2)
    seen: list[Tensor] = []
    network.grid.register_forward_pre_hook(lambda _module, inputs: seen.append(inputs[0]))
    image = torch.rand(2, 2, 32, 48)
    changed = image.clone()
    changed[1, 1, 16:, 32:] = torch.rand(16, 16)
    network(image)
    network(changed)
    touched = (seen[0] - seen[1]).abs().amax(1) > 1e-6
    wanted = torch.zeros(2, 2, 3, dtype=torch.bool)
    wanted[1, 1, 2] = True
    assert torch.equal(touched, wanted)


def test_padding_is_centred_and_zero() -> None:
    network = PatchAffineNet(patch_size=16, width=2)
    stir(network)
    image = torch.rand(1, 2, 28, 17)
    torch.testing.assert_close(network(F.pad(image, (7, 8, 2, 2))), network(image))


def test_what_is_too_small_is_refused() -> None:
    with pytest.raises(InputError, match=r"9 voxels a side, got \(8, 30\)"):
        AffineNet(width=2)(torch.rand(1, 2, 8, 30))
    with pytest.raises(InputError, match="patch_size"):
        PatchAffineNet(patch_size=8)


def test_a_few_steps_align_a_shifted_blob(network) -> None:
    offset = identity_grid((32, 32)) - torch.tensor([13.0, 17.0]).view(2, 1, 1)
    fixed = torch.exp(-(offset / torch.tensor([4.0, 6.0]).view(2, 1, 1)).square().sum(0))[None, None]
    moving = fixed.roll((3, -4), (2, 3))
    optimiser, loss = torch.optim.Adam(network.parameters(), 3e-3), PatchNCCLoss()
    values = []
    for _ in range(40):
        matrix = theta_to_matrix(network(torch.cat([moving, fixed], dim=1)), (32, 32))[0]
        value = loss(warp(moving, affine_to_ddf(matrix, (32, 32))), fixed)
        optimiser.zero_grad()
        value.backward()
        optimiser.step()
        values.append(value.item())
    assert values[0] > -0.7
    assert values[-1] < -0.95
    np.testing.assert_allclose(
        matrix[:2, 2].detach() + matrix[:2, :2].detach() @ torch.tensor([13.0, 17.0]), [16, 13], atol=1
    )
