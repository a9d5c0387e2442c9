"""The stages of the joint-saliency network: what reaches what, forward and backward, and every choice by its name."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from custom_components.common.errors import InputError
from custom_components.networks import FlowNet, GlobalToLocal, JointSaliency, joint_saliency_network
from custom_components.networks import registration_network as registration
from custom_components.networks.global_to_local import GLOBAL, LOCAL, STAGES, ConvolutionStack
from custom_components.networks.warp import warp

SMALL: dict[str, Any] = {"channels": (4, 6, 8), "local_channels": (4, 4)}
SPATIAL = [(21, 34), (9, 11, 14)]
CHOICES: list[dict[str, Any]] = [
    *({"stages": name} for name in STAGES),
    *({"coarse": name} for name in GLOBAL[1:]),
    *({"local": name} for name in LOCAL[1:]),
    {"images": False},
    {"residual": False},
    {"reference_implementation": True},
]

each_choice = pytest.mark.parametrize("choice", CHOICES, ids=[f"{key} {c[key]}" for c in CHOICES for key in c])
each_size = pytest.mark.parametrize("spatial", SPATIAL, ids=["2-D", "3-D"])


def built(spatial: tuple[int, ...], **choice: Any) -> tuple[nn.Module, Tensor]:
    """A small network and a batch for it; GlobalNet has images of sides of 16, a given field comes behind them."""
    torch.manual_seed(0)
    if choice.get("coarse") == "globalnet":
        spatial = (16,) * len(spatial)
        choice["side"] = 16
    network = joint_saliency_network(spatial_dims=len(spatial), **{**SMALL, **choice})
    image = torch.rand(2, 2, *spatial)
    if choice.get("coarse") == "initial_field":
        image = torch.cat([image, torch.full((2, len(spatial), *spatial), 1e-3)], dim=1)
    return network, image


@each_size
@each_choice
def test_the_field_has_the_size_of_the_image_and_is_nearly_zero_at_first(spatial, choice) -> None:
    network, image = built(spatial, **choice)
    ddf = network(image)
    assert ddf.shape == (2, len(spatial), *image.shape[2:])
    assert ddf.abs().max() < 0.01
    (ddf - 1).square().sum().backward()
    gradients = [parameter.grad for parameter in network.parameters() if parameter.grad is not None]
    assert gradients
    assert all(torch.isfinite(gradient).all() for gradient in gradients)
    assert any(gradient.any() for gradient in gradients)


@each_size
@each_choice
def test_a_scripted_network_gives_the_same(spatial, choice) -> None:
    network, image = built(spatial, **choice)
    network.eval()
    with torch.no_grad():
        assert torch.allclose(torch.jit.script(network)(image), network(image), atol=1e-7)


class SaliencyAlone(nn.Module):
    """A refining network that looks at the last channel, the joint saliency without images."""

    def __init__(self) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.tensor(2.0))

    def forward(self, seen: Tensor) -> Tensor:
        return self.factor * seen[:, -1:].expand(-1, seen.shape[1] - 1, *seen.shape[2:])


@each_size
@pytest.mark.parametrize("backward", [False, True], ids=["forward", "backward"])
def test_gradients_reach_the_coarse_network_through_the_saliency_only_backward(spatial, backward) -> None:
    torch.manual_seed(0)
    dimensions = len(spatial)
    network = GlobalToLocal(
        FlowNet(dimensions, (4, 4)), SaliencyAlone(), JointSaliency(), backward, residual=False, images=False
    )
    ddf = network(torch.rand(1, 2, *spatial))
    assert ddf.abs().max() > 0.1  # the saliency's values arrive in either case
    ddf.square().sum().backward()
    assert network.local.factor.grad.abs() > 0
    gradients = [parameter.grad for parameter in network.coarse.parameters()]
    if backward:
        assert all(torch.isfinite(gradient).all() for gradient in gradients)
        assert all(head.conv.weight.grad.any() for head in network.coarse.heads)
    else:
        assert not any(gradient.any() for gradient in gradients)


def test_forward_and_backward_differ_in_gradients_alone() -> None:
    found = []
    for stages in ("forward", "backward"):
        network, image = built(SPATIAL[0], stages=stages)
        ddf = network(image)
        (1e3 * ddf - 1).square().sum().backward()
        found.append((ddf, network.coarse.heads[0].conv.weight.grad))
    assert torch.equal(found[0][0], found[1][0])
    assert not torch.equal(found[0][1], found[1][1])


class Zero(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels

    def forward(self, seen: Tensor) -> Tensor:
        self.seen = seen
        return torch.zeros_like(seen[:, : self.channels])


class Bent(nn.Module):
    """A field that depends on the place alone."""

    def forward(self, image: Tensor) -> Tensor:
        dimensions = image.dim() - 2
        ramp = torch.linspace(-2, 3, image.shape[2:].numel()).view(1, 1, *image.shape[2:])
        return ramp.expand(len(image), dimensions, *image.shape[2:])


@each_size
@pytest.mark.parametrize("images", [False, True])
def test_a_refinement_by_zero_leaves_the_coarse_field_and_sees_what_it_is_told(spatial, images) -> None:
    dimensions, image = len(spatial), torch.rand(2, 2, *spatial)
    coarse = Bent()(image)
    network = GlobalToLocal(Bent(), Zero(dimensions), JointSaliency(), images=images)
    assert torch.equal(network(image), coarse)
    warped = warp(image[:, :1], coarse)
    wanted = [coarse, JointSaliency()(image[:, 1:], warped)] + ([image[:, 1:], warped] if images else [])
    assert torch.equal(network.local.seen, torch.cat(wanted, dim=1))
    assert not GlobalToLocal(Bent(), Zero(dimensions), residual=False)(image).any()


@each_size
@pytest.mark.parametrize("stages", STAGES[:-1])
def test_every_stage_is_the_field_then_the_coarse_one_then_the_saliency(spatial, stages) -> None:
    training, image = built(spatial, stages=stages, every_stage=True)
    plain, _ = built(spatial, stages=stages)
    with torch.no_grad():
        for parameter in training.parameters():
            parameter += 0.05 * torch.randn_like(parameter)
        plain.load_state_dict(training.state_dict())
        output, ddf = training(image), plain(image)
        dimensions = len(spatial)
        assert output.shape == (2, 2 * dimensions + 1, *spatial)
        assert torch.equal(output[:, :dimensions], ddf)
        coarse = plain.coarse(image)
        assert torch.equal(output[:, dimensions:-1], coarse)
        assert torch.equal(ddf, coarse) == (stages == "coarse")
        joint = JointSaliency()(image[:, 1:], warp(image[:, :1], coarse))
        assert torch.equal(output[:, -1:], joint if stages in ("forward", "backward") else torch.zeros_like(joint))
        assert coarse.abs().max() > 0.01
        training.eval()
        assert torch.allclose(torch.jit.script(training)(image), training(image), atol=1e-6)


def test_without_images_and_saliency_the_refinement_sees_nothing_of_the_pair_but_the_coarse_field() -> None:
    network = GlobalToLocal(Bent(), Zero(2), images=False)
    network(torch.rand(1, 2, 8, 9))
    assert network.local.seen.shape[1] == 3
    assert not network.local.seen[:, 2].any()


@each_size
def test_voxelmorph_is_the_registration_network_of_that_name(spatial) -> None:
    network, image = built(spatial, stages="voxelmorph", every_stage=True)
    torch.manual_seed(0)
    other = registration("voxelmorph", len(spatial), SMALL["channels"])
    network.eval(), other.eval()
    with torch.no_grad():
        assert torch.equal(network(image), other(image))


def test_options_reach_what_they_are_of() -> None:
    network, _ = built(SPATIAL[0], sigma=2.0, reference_implementation="true", residual="False", images="false")
    assert len(network.saliency.taps) == 17
    assert network.saliency.reference_implementation
    assert not network.residual
    assert isinstance(network.local, ConvolutionStack)
    assert network.local[0].conv.weight.shape == (4, 3, 3, 3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"stages": "all"}, "stages is coarse, local, forward, backward, voxelmorph, got 'all'"),
        ({"coarse": "unet"}, "coarse is flownet, regunet, globalnet, initial_field, got 'unet'"),
        ({"local": "unet"}, "local is stack, localnet, got 'unet'"),
        ({"coarse": "globalnet"}, "globalnet takes images of one size only: give --side VOXELS"),
        ({"sigma": 0}, "sigma is a positive number of voxels"),
        ({"channels": (8,)}, "channels has at least two levels"),
        ({"residual": "perhaps"}, "residual"),
    ],
)
def test_other_choices_are_refused(options, message) -> None:
    with pytest.raises(InputError, match=message):
        joint_saliency_network(**options)
