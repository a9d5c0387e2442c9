"""DeepSim's networks: layers, widths and sizes of the source's table, both dimensions, odd sizes, export."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from monai.networks.blocks.warp import DVF2DDF
from torch import nn

from custom_components.common.errors import InputError
from custom_components.fields import folding_share, smooth
from custom_components.networks import Diffeomorphic, FeatureEncoder, StridedUNet

TINY = {"channels": (4, 6, 8)}
SPATIAL = [(24, 32), (21, 35), (16, 17, 19)]


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


def kernels(network: nn.Module) -> list[tuple[int, ...]]:
    return [tuple(p.shape) for p in network.parameters() if p.ndim > 1]


def test_the_default_encoder_is_the_table_of_the_source() -> None:
    network = FeatureEncoder()
    assert [tuple(level.shape[1:]) for level in network(torch.rand(2, 1, 64, 80))] == [
        (64, 32, 40), (128, 16, 20), (256, 8, 10),
    ]  # fmt: skip
    assert kernels(network) == [
        (64, 1, 4, 4), (64, 64, 3, 3), (128, 64, 4, 4), (128, 128, 3, 3), (256, 128, 4, 4), (256, 256, 3, 3),
    ]  # fmt: skip
    assert [m.num_features for m in network.modules() if isinstance(m, nn.BatchNorm2d)] == [1, 64, 128]
    assert [m.p for m in network.modules() if isinstance(m, nn.Dropout2d)] == [0.5] * 3
    slopes = [m.negative_slope for m in network.modules() if isinstance(m, nn.LeakyReLU)]
    assert slopes == [0.2] * 6


def test_the_unet_has_the_widths_of_the_source() -> None:
    segmentation = kernels(StridedUNet(out_channels=3))[6:]
    assert segmentation == [
        (256, 256, 3, 3), (256, 256, 3, 3), (128, 384, 3, 3), (128, 128, 3, 3), (64, 192, 3, 3), (64, 64, 3, 3),
        (65, 65, 3, 3), (65, 65, 3, 3), (3, 65, 1, 1),
    ]  # fmt: skip
    registration = kernels(StridedUNet(in_channels=2, out_channels=2, out_kernel=3))
    assert registration[-3:] == [(66, 66, 3, 3), (66, 66, 3, 3), (2, 66, 3, 3)]
    autoencoder = kernels(StridedUNet(skip_connections=False))[6:]
    assert autoencoder[2:] == [
        (128, 256, 3, 3), (128, 128, 3, 3), (64, 128, 3, 3), (64, 64, 3, 3),
        (64, 64, 3, 3), (64, 64, 3, 3), (1, 64, 1, 1),
    ]  # fmt: skip


@pytest.mark.parametrize("skip_connections", [True, False])
@pytest.mark.parametrize("spatial", SPATIAL)
def test_any_size_comes_out_as_it_went_in(spatial, skip_connections) -> None:
    network = StridedUNet(len(spatial), 2, 3, skip_connections=skip_connections, **TINY)
    assert network(torch.rand(1, 2, *spatial)).shape == (1, 3, *spatial)


def test_a_field_begins_near_zero_and_the_field_s_gradient_does_not_vanish() -> None:
    network = StridedUNet(2, 2, 2, out_kernel=3, out_deviation=1e-5, **TINY)
    ddf = network(torch.rand(1, 2, 24, 32))
    assert 0 < ddf.abs().max() < 1e-3
    ddf.sum().backward()
    assert network.out.conv.weight.grad.abs().max() > 0


def test_too_small_an_image_is_refused_and_a_wrong_network_too() -> None:
    with pytest.raises(InputError, match="at least 8 voxels"):
        StridedUNet(**TINY)(torch.rand(1, 1, 7, 30))
    with pytest.raises(InputError, match="spatial_dims is 2 or 3"):
        FeatureEncoder(4)
    with pytest.raises(InputError, match="a number a stage"):
        FeatureEncoder(2, 1, ())


@pytest.mark.parametrize("spatial", [(24, 32), (16, 16, 24)])
def test_the_encoder_exports_to_a_module_that_returns_a_list(spatial, tmp_path: Path) -> None:
    encoder = StridedUNet(len(spatial), **TINY).encoder.eval()
    torch.jit.script(encoder).save(tmp_path / "encoder.ts")
    again = torch.jit.load(tmp_path / "encoder.ts")
    image = torch.rand(1, 1, *spatial)
    for eager, exported in zip(encoder(image), again(image), strict=True):
        assert torch.allclose(eager, exported, atol=1e-6)


@pytest.mark.parametrize("wrapped", [False, True])
def test_the_registration_network_exports(wrapped, tmp_path: Path) -> None:
    network: nn.Module = StridedUNet(2, 2, 2, out_kernel=3, **TINY)
    network = (Diffeomorphic(network) if wrapped else network).eval()
    exported = torch.jit.script(network)
    for shape in ((24, 32), (25, 31)):
        image = torch.rand(1, 2, *shape)
        assert torch.allclose(network(image), exported(image), atol=1e-5)


class Velocity(nn.Module):
    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return image


@pytest.mark.parametrize("spatial", [(30, 41), (14, 15, 16)])
def test_integration_agrees_with_monai_and_does_not_fold(spatial) -> None:
    velocity = 10 * smooth(torch.randn(1, len(spatial), *spatial), 3.0)
    velocity *= 3 / velocity.abs().max()
    found = Diffeomorphic(Velocity(), 7)(velocity)
    assert torch.allclose(found, DVF2DDF(num_steps=7, mode="bilinear", padding_mode="border")(velocity), atol=1e-3)
    assert folding_share(found) == 0
    back = Diffeomorphic(Velocity(), 7)(-velocity)
    assert (found + back).abs().mean() < 0.5 * found.abs().mean()


def test_a_constant_velocity_is_a_translation() -> None:
    velocity = torch.full((1, 2, 9, 9), 1.5)
    assert torch.allclose(Diffeomorphic(Velocity(), 4)(velocity), velocity, atol=1e-5)
