from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from custom_components.common.errors import InputError
from custom_components.networks import PatchUNet

TINY = {"channels": (4, 6, 8), "head_channels": (4, 3)}


def tiny(dimensions: int = 2) -> PatchUNet:
    torch.manual_seed(0)
    return PatchUNet(dimensions, **TINY).eval()


def sizes(module: nn.Module, image: Tensor) -> dict[str, tuple[int, ...]]:
    """(channels, *spatial) after each child of the encoder, decoder and head, by name."""
    found: dict[str, tuple[int, ...]] = {}
    hooks = [
        block.register_forward_hook(lambda _m, _i, out, name=name: found.update({name: tuple(out.shape[1:])}))
        for name, block in module.named_modules()
        if name.count(".") == 1
    ]
    with torch.no_grad():
        module(image)
    for hook in hooks:
        hook.remove()
    return found


def test_the_default_is_the_table_of_the_source() -> None:
    network = PatchUNet()
    assert sizes(network, torch.rand(1, 2, 256, 256)) == {
        "encoder.0": (32, 127, 127),
        "encoder.1": (64, 63, 63),
        "encoder.2": (128, 31, 31),
        "encoder.3": (256, 15, 15),
        "encoder.4": (512, 7, 7),
        "decoder.0": (256, 15, 15),
        "decoder.1": (128, 31, 31),
        "decoder.2": (64, 63, 63),
        "decoder.3": (32, 127, 127),
        "decoder.4": (32, 256, 256),
        "head.0": (32, 256, 256),
        "head.1": (16, 256, 256),
        "field.conv": (2, 256, 256),
    }
    kernels = [tuple(p.shape) for p in network.parameters() if p.ndim == 4]
    down = [(32, 2, 3, 3), (64, 32, 3, 3), (128, 64, 3, 3), (256, 128, 3, 3), (512, 256, 3, 3)]
    up = [(512, 256, 3, 3), (512, 128, 3, 3), (256, 64, 3, 3), (128, 32, 3, 3), (64, 32, 3, 3)]
    assert kernels == [*down, *up, (32, 32, 3, 3), (16, 32, 3, 3), (2, 16, 3, 3)]
    norms = [m for m in network.modules() if isinstance(m, nn.GroupNorm)]
    assert len(norms) == 12
    assert all(m.num_groups == m.num_channels for m in norms)
    assert sum(isinstance(m, nn.PReLU) for m in network.modules()) == 12


@pytest.mark.parametrize(
    ("dimensions", "spatial"),
    [(2, (23, 23)), (2, (32, 32)), (2, (25, 50)), (2, (47, 28)), (2, (38, 24)), (3, (23, 26, 29)), (3, (24, 32, 23))],
)
def test_the_field_has_the_size_of_the_input(dimensions, spatial) -> None:
    assert tiny(dimensions)(torch.rand(2, 2, *spatial)).shape == (2, dimensions, *spatial)


def test_every_size_from_the_minimum_on_works() -> None:
    network = tiny()
    assert network.minimum_size == 23
    for side in range(23, 40):
        assert network(torch.rand(1, 2, side, 62 - side)).shape == (1, 2, side, 62 - side)


@pytest.mark.parametrize("spatial", [(22, 40), (40, 22), (1, 1)])
def test_too_small_an_input_is_refused_with_its_size(spatial) -> None:
    with pytest.raises(InputError, match=rf"23 voxels a side, got \({spatial[0]}, {spatial[1]}\)"):
        tiny()(torch.rand(1, 2, *spatial))


def test_wrong_arguments_are_refused() -> None:
    with pytest.raises(InputError, match="spatial_dims"):
        PatchUNet(4)
    with pytest.raises(InputError, match="channels"):
        PatchUNet(channels=())


def test_the_start_is_near_the_identity_and_scaled_from_the_default() -> None:
    near, far = ({}, {"initial_scale": 1.0})
    image = torch.rand(1, 2, 40, 40)
    fields = []
    for options in (near, far):
        torch.manual_seed(0)
        network = PatchUNet(**TINY, **options)
        assert network.field.conv.bias.abs().max() == 0
        fields.append(network(image))
    assert 0 < fields[0].abs().max() < 0.05
    torch.testing.assert_close(fields[0], fields[1] / 100)


@pytest.mark.parametrize("dimensions", [2, 3])
def test_a_constant_pair_gives_a_finite_field_and_finite_gradients(dimensions) -> None:
    network = PatchUNet(dimensions, **TINY)
    image = torch.full((1, 2, *[24] * dimensions), 0.3, requires_grad=True)
    field = network(image)
    assert field.isfinite().all()
    field.square().mean().backward()
    assert image.grad is not None
    assert image.grad.isfinite().all()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())


@pytest.mark.parametrize("dimensions", [2, 3])
def test_the_scripted_network_gives_the_same_field_at_any_size(dimensions) -> None:
    network = tiny(dimensions)
    scripted = torch.jit.script(network)
    for spatial in [(23, 24, 26), (32, 27, 23)]:
        image = torch.rand(1, 2, *spatial[:dimensions])
        torch.testing.assert_close(scripted(image), network(image))


def test_pairs_of_a_batch_do_not_see_each_other() -> None:
    network, images = tiny(), torch.rand(3, 2, 30, 26)
    torch.testing.assert_close(network(images)[1:2], network(images[1:2]))
