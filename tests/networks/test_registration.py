"""Registration networks by name: shapes for any size, no displacement at first, gradients, scripting."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from custom_components.common.errors import InputError
from custom_components.networks import registration_network
from custom_components.networks.registration import NAMES, Padded


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("diffeomorphic", [False, True])
def test_the_field_has_the_size_of_the_image_and_is_nearly_zero_at_first(name, diffeomorphic) -> None:
    torch.manual_seed(0)
    network = registration_network(name, 2, (8, 12, 12), diffeomorphic, dropout=0.0)
    ddf = network(torch.rand(2, 2, 70, 83))
    assert ddf.shape == (2, 2, 70, 83)
    assert 0 < ddf.abs().max() < 0.01
    ddf.square().sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in network.parameters() if p.grad is not None)


@pytest.mark.parametrize("name", NAMES)
def test_three_dimensions(name) -> None:
    torch.manual_seed(0)
    side = 64 if name == "transmorph" else 21
    with torch.no_grad():
        network = registration_network(name, 3, (4, 4, 4), dropout=0.0).eval()
        assert network(torch.rand(1, 2, side, side + 1, side + 3)).shape == (1, 3, side, side + 1, side + 3)


@pytest.mark.parametrize("name", ["unet", "voxelmorph"])
def test_a_scripted_network_gives_the_same(name) -> None:
    torch.manual_seed(0)
    network, image = registration_network(name, 2, (8, 8), dropout=0.0).eval(), torch.rand(1, 2, 33, 41)
    with torch.no_grad():
        assert torch.allclose(torch.jit.script(network)(image), network(image), atol=1e-8)


def test_too_small_an_image_and_other_names_are_refused() -> None:
    with pytest.raises(InputError, match="at least 64 voxels a side"):
        registration_network("transmorph", 2, (8,))(torch.rand(1, 2, 63, 90))
    with pytest.raises(InputError, match="backbone is unet, voxelmorph, transmorph, got 'vit'"):
        registration_network("vit")


def test_padding_is_zero_at_the_ends_and_cut_off_again() -> None:
    class Recorded(nn.Module):
        def forward(self, image: Tensor) -> Tensor:
            self.seen = image
            return 2 * image

    inner, image = Recorded(), torch.rand(1, 2, 5, 8, 9)
    assert torch.equal(Padded(inner, 4)(image), 2 * image)
    assert inner.seen.shape == (1, 2, 8, 8, 12)
    assert inner.seen.sum().item() == pytest.approx(image.sum().item(), rel=1e-5)
