from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from custom_components.common.errors import InputError
from custom_components.fields import affine_to_ddf
from custom_components.networks import MaskFlownetS
from custom_components.networks.mask_flownet import FieldLevel, ShiftedConvolution, refine_grid

TINY = {"channels": (4, 5, 6, 7, 8, 9), "estimator_channels": (6, 5), "context_channels": (4,) * 6, "up_channels": 3}


def tiny(**options) -> MaskFlownetS:
    torch.manual_seed(0)
    return MaskFlownetS(**{**TINY, "radius": 2, **options}).eval()


def value(image: Tensor, row: float, column: float) -> Tensor:
    """(C,) linear interpolation of (C, H, W), zero outside."""
    height, width = image.shape[1:]
    found = image.new_zeros(len(image))
    top, left = int(row // 1), int(column // 1)
    for r in (top, top + 1):
        for c in (left, left + 1):
            if 0 <= r < height and 0 <= c < width:
                found += (1 - abs(row - r)) * (1 - abs(column - c)) * image[:, r, c]
    return found


def deformable(features: Tensor, offset: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """3x3 deformable convolution of one image whose taps at a voxel share the offset, tap by tap."""
    result = torch.empty_like(features)
    for row in range(features.shape[1]):
        for column in range(features.shape[2]):
            total = bias.clone()
            for i in range(3):
                for j in range(3):
                    place = (row + i - 1 + offset[0, row, column], column + j - 1 + offset[1, row, column])
                    total += weight[:, :, i, j] @ value(features, float(place[0]), float(place[1]))
            result[:, row, column] = total
    return result


def shifted(channels: int) -> ShiftedConvolution:
    module = ShiftedConvolution(channels).double()
    nn.init.normal_(module.bias)
    return module


@pytest.mark.parametrize("length", [0.7, 3.0, 40.0])
@torch.no_grad()
def test_the_shifted_convolution_agrees_with_brute_force(length) -> None:
    module = shifted(2)
    features = torch.randn(2, 2, 5, 7, dtype=torch.float64)
    offset = length * torch.randn(2, 2, 5, 7, dtype=torch.float64)
    wanted = [deformable(f, o, module.convolution.weight, module.bias) for f, o in zip(features, offset, strict=True)]
    torch.testing.assert_close(module(features, offset), torch.stack(wanted))


@torch.no_grad()
def test_without_offset_the_shifted_convolution_is_a_convolution() -> None:
    module = shifted(3)
    features = torch.randn(1, 3, 6, 9, dtype=torch.float64)
    wanted = nn.functional.conv2d(features, module.convolution.weight, module.bias, padding=1)
    torch.testing.assert_close(module(features, torch.zeros(1, 2, 6, 9, dtype=torch.float64)), wanted)


@torch.no_grad()
def test_bfloat16_features_are_shifted_to_precise_positions() -> None:
    """Along a ramp of slope 1 the error of the value is that of the position; bfloat16 holds integers to 256."""
    module = ShiftedConvolution(1)
    module.convolution.weight.copy_(torch.tensor([[0, 0, 0], [0, 1.0, 0], [0, 0, 0]]))
    ramp = torch.arange(200.0).expand(1, 1, 3, 200)
    with torch.autocast("cpu", torch.bfloat16):
        found = module(ramp, torch.full((1, 2, 3, 200), 0.25) * torch.tensor([0.0, 1.0]).view(1, 2, 1, 1))
    torch.testing.assert_close(found[..., :-1].float(), ramp[..., :-1] + 0.25, atol=1e-3, rtol=0)


@pytest.mark.parametrize("factor", [2, 4, 64])
def test_refining_a_grid_keeps_linear_fields_up_to_the_last_coarse_voxel(factor) -> None:
    matrix = torch.tensor([[1.3, -0.2, 5.0], [0.1, 0.8, -2.0]], dtype=torch.float64)
    fine = affine_to_ddf(matrix, (4 * factor, 5 * factor), torch.float64)
    found = refine_grid(fine[:, :, ::factor, ::factor], factor)
    assert found.shape == fine.shape
    inside = (..., slice(0, 3 * factor + 1), slice(0, 4 * factor + 1))
    torch.testing.assert_close(found[inside], fine[inside])
    torch.testing.assert_close(found[:, :, -1], found[:, :, 3 * factor])


def test_voxels_of_the_levels_are_where_the_strided_convolutions_put_them() -> None:
    """Pyramid and refinement agree: a bright voxel at 2 i of the image stays at i of the level."""
    image = torch.zeros(1, 1, 32, 32)
    image[0, 0, 12, 20] = 1.0
    level = nn.Conv2d(1, 1, 3, stride=2, padding=1, bias=False)
    nn.init.ones_(level.weight)
    coarse = level(image)
    assert coarse.nonzero().tolist() == [[0, 0, 6, 10]]
    assert refine_grid(coarse, 2).argmax() == image.argmax()


@torch.no_grad()
def test_what_is_masked_leaves_the_trade_off_alone() -> None:
    torch.manual_seed(0)
    level = FieldLevel(4, (6, 5), carried=7, up_channels=3, radius=2, masked=True)
    fixed, moving, other = torch.randn(3, 1, 4, 8, 8)
    found, field = torch.randn(1, 7, 4, 4), torch.randn(1, 2, 4, 4)

    def results(features: Tensor, logit: float) -> list[Tensor]:
        return list(level(fixed, features, found, field, torch.full((1, 1, 4, 4), logit), 4))

    masked = results(moving, -1e4)
    for a, b in zip(masked, results(other, -1e4), strict=True):
        assert torch.equal(a, b)
    assert not torch.allclose(masked[1], results(moving, 1e4)[1])
    assert not torch.allclose(results(moving, 1e4)[1], results(other, 1e4)[1])
    nn.init.zeros_(level.trade_off.weight)
    assert not torch.allclose(results(moving, -1e4)[1], masked[1])


@pytest.mark.parametrize("spatial", [(64, 64), (65, 127), (70, 90), (1, 130), (33, 20)])
def test_any_size_is_padded_and_cropped(spatial) -> None:
    network = tiny()
    fields = network.predictions(torch.rand(2, 2, *spatial))
    assert [field.shape for field in fields] == [(2, 2, *spatial)] * 5


@torch.no_grad()
def test_the_padding_repeats_the_last_voxels() -> None:
    network, image = tiny(), torch.rand(1, 2, 70, 90)
    padded = nn.functional.pad(image, [0, 38, 0, 58], mode="replicate")
    torch.testing.assert_close(network(image), network(padded)[..., :70, :90])


@torch.no_grad()
def test_predictions_are_the_level_fields_in_voxels_of_the_image() -> None:
    network, image = tiny(), torch.rand(1, 2, 128, 192)
    levels, fields = network.level_fields(image), network.predictions(image)
    assert [tuple(level.shape[2:]) for level in levels] == [(128 // s, 192 // s) for s in (64, 32, 16, 8, 4)]
    for stride, level, field in zip((64, 32, 16, 8, 4), levels, fields, strict=True):
        torch.testing.assert_close(field[:, :, ::stride, ::stride], 20 * level)
    assert torch.equal(network(image), fields[-1])


@pytest.mark.parametrize("step", [(1, 0), (-1, 0), (0, 1), (0, -1)])
@torch.no_grad()
def test_the_field_points_from_fixed_to_moving_in_rows_and_columns(step) -> None:
    """With random features and a coarsest level that reads the mean displacement off its cost volume."""
    network = tiny(estimator_channels=(), radius=1)
    readout = network.levels[0].field
    nn.init.zeros_(readout.weight)
    steps = torch.tensor([(row, column) for row in (-1, 0, 1) for column in (-1, 0, 1)])
    readout.weight[:, :, 1, 1] = steps.T.float()
    coarse = torch.rand(4, 1, 20, 20, generator=torch.Generator().manual_seed(0))
    large = nn.functional.interpolate(coarse, scale_factor=32.0, mode="bilinear")
    row, column = 64 + 64 * step[0], 64 + 64 * step[1]
    # fixed(x) = moving(x + 64 step), by cutting both from one image
    moving, fixed = large[..., 64:-64, 64:-64], large[..., row : row + 512, column : column + 512]
    found = network.predictions(torch.cat([moving, fixed], dim=1))[0][..., 64:-128, 64:-128].mean(dim=(0, 2, 3))
    wanted = torch.tensor(step, dtype=torch.float32)
    assert found @ wanted > 3 * (found - (found @ wanted) * wanted).norm()


@torch.no_grad()
def test_brightness_that_both_images_share_does_not_matter_for_each_channel() -> None:
    network, image = tiny(in_channels=3), torch.rand(1, 6, 64, 64)
    offset = torch.tensor([0.1, -0.3, 0.5, 0.1, -0.3, 0.5]).view(1, 6, 1, 1)
    torch.testing.assert_close(network(image + offset), network(image), atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_pairs_of_a_batch_do_not_see_each_other() -> None:
    network, images = tiny(), torch.rand(3, 2, 64, 64)
    torch.testing.assert_close(network(images)[1:2], network(images[1:2]))


def test_the_default_has_the_size_of_the_source() -> None:
    """10.5 million parameters, as the paper says of three channels, besides the idle layers of the coarsest level."""
    for channels, wanted in ((3, 10_514_256), (1, 10_513_968)):
        network = MaskFlownetS(channels)
        idle = nn.ModuleList([network.levels[0].up, network.levels[0].shifted, network.levels[0].trade_off])
        assert sum(p.numel() for p in network.parameters()) - sum(p.numel() for p in idle.parameters()) == wanted


def test_all_but_the_idle_layers_learn() -> None:
    network = tiny()
    sum(field.square().mean() for field in network.predictions(torch.rand(2, 2, 64, 96))).backward()
    idle = {name for name, parameter in network.named_parameters() if parameter.grad is None}
    assert {name.rsplit(".", 1)[0] for name in idle} == {
        f"levels.0.{name}" for name in ("up", "shifted", "shifted.convolution", "trade_off")
    }


@torch.no_grad()
def test_the_scripted_network_gives_the_same_at_all_levels(tmp_path) -> None:
    network = tiny()
    torch.jit.save(torch.jit.script(network), tmp_path / "network.ts")
    scripted = torch.jit.load(tmp_path / "network.ts")
    for spatial in [(64, 64), (70, 90)]:
        image = torch.rand(1, 2, *spatial)
        torch.testing.assert_close(scripted(image), network(image))
        torch.testing.assert_close(scripted.predictions(image), network.predictions(image))


@torch.no_grad()
def test_bfloat16_gives_nearly_the_same_field() -> None:
    network = tiny()
    image = nn.functional.avg_pool2d(torch.rand(1, 2, 128, 128), 5, 1, 2)
    wanted = network(image)
    with torch.autocast("cpu", torch.bfloat16):
        found = network(image)
    assert found.dtype == torch.float32
    assert (found - wanted).norm() < 0.1 * wanted.norm()


@pytest.mark.parametrize("shape", [(1, 1, 64, 64), (1, 3, 64, 64), (2, 64, 64), (1, 2, 8, 64, 64), (1, 2, 0, 64)])
def test_other_inputs_are_refused_with_their_shape(shape) -> None:
    network = tiny()
    for method in (network, network.predictions):
        with pytest.raises(InputError, match=r"takes \(B, 2, H, W\).*got \(" + str(shape[0])):
            method(torch.zeros(shape))


@pytest.mark.parametrize("options", [{"channels": (4,) * 5}, {"context_channels": (4,) * 7}])
def test_other_depths_are_refused(options) -> None:
    with pytest.raises(InputError, match="6 pyramid levels"):
        tiny(**options)
