"""Every network of the package runs and learns on a device that is not the CPU; a new one needs an example here."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map

from custom_components import networks
from custom_components.networks import (
    COTR,
    AffineNet,
    CorrelatedCOTR,
    CycleCOTR,
    Diffeomorphic,
    FeatureEncoder,
    FlowNet,
    JointSaliency,
    MaskFlownetS,
    NetworkPyramid,
    PatchAffineNet,
    PatchUNet,
    SplitMaps,
    StridedUNet,
    SuperGlue,
    SuperPoint,
    TransMorph,
    VGGFeatures,
    XFeatFeatures,
    XFeatMaps,
    joint_saliency_network,
)

Example = tuple[Callable[[], nn.Module], tuple[Any, ...]]


def image(channels: int, *spatial: int) -> Tensor:
    return torch.rand(1, channels, *spatial, generator=torch.Generator().manual_seed(0))


def small_cotr() -> nn.Module:
    return COTR(width=16, heads=2, layers=1, hidden=16, channels=(4, 8, 8), blocks=(1, 1, 1))


asked = (image(2, 64, 64), torch.rand(1, 5, 2))
EXAMPLES: dict[str, Example] = {
    "AffineNet": (lambda: AffineNet(width=4), (image(2, 64, 64),)),
    "CycleCOTR": (lambda: CycleCOTR(small_cotr()), asked),
    "COTR": (small_cotr, asked),
    "CorrelatedCOTR": (lambda: CorrelatedCOTR(XFeatFeatures(), width=16, heads=2, layers=1, hidden=16), asked),
    "Diffeomorphic": (lambda: Diffeomorphic(FlowNet(2, (4, 8))), (image(2, 16, 24),)),
    "FeatureEncoder": (lambda: FeatureEncoder(channels=(4, 8)), (image(1, 24, 32),)),
    "FlowNet": (lambda: FlowNet(3, (4, 8)), (image(2, 16, 16, 16),)),
    "GlobalToLocal": (
        lambda: joint_saliency_network(channels=(4, 8), local_channels=(4, 4), every_stage=True),
        (image(2, 24, 32),),
    ),
    "JointSaliency": (JointSaliency, (image(1, 24, 32), image(1, 24, 32))),
    "MaskFlownetS": (
        lambda: MaskFlownetS(1, (4,) * 6, (4, 4), (4,) * 6, up_channels=4, radius=2),
        (image(2, 70, 90),),
    ),
    "NetworkPyramid": (lambda: NetworkPyramid(FlowNet(2, (4, 8)), levels=2, field_sigma=2.0), (image(2, 16, 24),)),
    "PatchAffineNet": (lambda: PatchAffineNet(32, width=4), (image(2, 64, 64),)),
    "PatchUNet": (lambda: PatchUNet(channels=(4, 8), head_channels=(4,)), (image(2, 20, 31),)),
    "SplitMaps": (lambda: SplitMaps(XFeatMaps()), (image(1, 64, 64),)),
    "StridedUNet": (lambda: StridedUNet(channels=(4, 8)), (image(1, 24, 32),)),
    "SuperGlue": (
        lambda: SuperGlue(8, layers=2, heads=2, encoder=(8, 8), iterations=3),
        (
            [torch.rand(1, 6, 2) * 2 - 1, torch.rand(1, 5, 2) * 2 - 1],
            [torch.rand(1, 6), torch.rand(1, 5)],
            [torch.rand(1, 6, 8), torch.rand(1, 5, 8)],
        ),
    ),
    "SuperPoint": (SuperPoint, (image(1, 16, 24),)),
    "TransMorph": (lambda: TransMorph(width=8, depths=(2,) * 4, heads=(2,) * 4), (image(2, 65, 70),)),
    "VGGFeatures": (VGGFeatures, (image(1, 32, 32),)),
    "XFeatFeatures": (XFeatFeatures, (image(1, 64, 64),)),
    "XFeatMaps": (XFeatMaps, (image(1, 64, 64),)),
}


def found_networks() -> set[str]:
    members = {name: getattr(networks, name) for name in networks.__all__}
    return {name for name, member in members.items() if inspect.isclass(member) and issubclass(member, nn.Module)}


def test_every_network_has_an_example():
    assert found_networks() == set(EXAMPLES)


@pytest.mark.parametrize("name", sorted(EXAMPLES))
def test_a_network_works_on_the_device(device, name):
    make, here = EXAMPLES[name]
    network = make().eval()  # what normalises needs more than one value in training
    assert type(network).__name__ == name
    with torch.no_grad():
        wanted = tree_leaves(network(*here))
    network.to(device)
    found = tree_leaves(network(*tree_map(lambda part: part.to(device), here)))
    assert {part.device for part in found} == {device}
    for part, expected in zip(found, wanted, strict=True):
        assert torch.allclose(part.detach().cpu(), expected, rtol=1e-3, atol=1e-4)
    if any(part.requires_grad for part in found):
        torch.stack([part.float().square().mean() for part in found]).sum().backward()
        assert {weight.grad.device for weight in network.parameters() if weight.grad is not None} == {device}
