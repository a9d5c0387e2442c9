"""Every step of a chain works on a device that is not the CPU, with its network left on the CPU by whoever made it.

Steps are found in ``inferers.__all__`` by their arguments: a new one needs an example here.
"""

from __future__ import annotations

import importlib.util
import inspect
import sys
from collections.abc import Callable
from dataclasses import fields
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from skimage import data
from torch import Tensor, nn

from custom_components import inferers
from custom_components.fields import affine_to_ddf, compose, smooth, warp
from custom_components.inferers import (
    AffineAlignment,
    AffineNetwork,
    Chain,
    Consensus,
    DiffeomorphicDemons,
    DirectField,
    FlowRefinement,
    HybridMatching,
    InstanceOptimisation,
    NetworkField,
    OpticalFlow,
    PairImages,
    PatchPyramid,
    PieceAlignment,
    RotationSearch,
    ScatteredInterpolation,
    SyN,
)
from custom_components.inferers.error_model import ErrorModel, LogLinear
from custom_components.losses import NMILoss
from custom_components.matching import SIFTMatcher
from custom_components.networks import AffineNet, FeatureEncoder, FlowNet, NetworkPyramid

NAMES = ("moving", "fixed", "moving_mask", "fixed_mask")
ERROR = LogLinear(-3.0, {"disagreement": 0.3}, {"spread": 0.2})


def pair(size: int = 160) -> PairImages:
    """A real section and itself, turned and bent a little."""
    grey = 1 - torch.from_numpy(data.immunohistochemistry()[:size, :size]).float().mean(dim=2)[None, None] / 255
    rows, columns = torch.meshgrid(*[torch.linspace(-1, 1, size)] * 2, indexing="ij")
    fixed = grey * ((rows / 0.85) ** 2 + (columns / 0.7) ** 2 < 1)
    turn = np.array([[0.99, -0.06, 6.0], [0.06, 0.99, -4.0]])
    bend = smooth(80 * torch.randn(1, 2, size, size, generator=torch.Generator().manual_seed(0)), 12.0)
    moving = warp(fixed, compose(affine_to_ddf(turn, (size, size)), bend))
    return PairImages(moving, fixed, (moving > 0.02).float(), (fixed > 0.02).float())


def moved(images: PairImages, device: torch.device) -> PairImages:
    return PairImages(*(getattr(images, name).to(device) for name in NAMES))


def flow() -> nn.Module:
    torch.manual_seed(0)
    return FlowNet(2, (4, 8))


def given(network: nn.Module) -> nn.Module:
    class Given(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, image: Tensor) -> Tensor:
            return self.network(image[:, :2]) + image[:, 2:]

    return Given()


EXAMPLES: dict[str, Callable[[], list[Any]]] = {
    "AffineAlignment": lambda: [AffineAlignment(SIFTMatcher(), rotation_step=180.0, min_matches=8)],
    "AffineNetwork": lambda: [AffineNetwork(AffineNet(width=4).eval(), size=64, only_better=False)],
    "Consensus": lambda: [
        RotationSearch(size=64, rotation_step=10.0),
        Consensus([FlowRefinement()], error_model=ErrorModel(ERROR, ERROR)),
    ],
    "DiffeomorphicDemons": lambda: [DiffeomorphicDemons(iterations=[3, 3], minimum_jacobian=0.1)],
    "DirectField": lambda: [RotationSearch(size=32, rotation_step=30.0), DirectField(given(flow()), given=True)],
    "FlowRefinement": lambda: [RotationSearch(size=64, rotation_step=10.0), FlowRefinement()],
    "HybridMatching": lambda: [
        AffineAlignment(SIFTMatcher(), rotation_step=180.0, min_matches=8),
        HybridMatching([SIFTMatcher()], stop_after_matches=None, interpolation=ScatteredInterpolation()),
    ],
    "InstanceOptimisation": lambda: [
        InstanceOptimisation(NMILoss(), weight=0.0, levels=2, iterations=2, diffeomorphic=True, proximity=0.1)
    ],
    "NetworkField": lambda: [NetworkField(flow(), sizes=(64, 96), field_sigma=2.0)],
    "OpticalFlow": lambda: [OpticalFlow(minimum_jacobian=0.1)],
    "PatchPyramid": lambda: [
        RotationSearch(size=32, rotation_step=30.0),
        PatchPyramid(NetworkPyramid(flow(), 2), scales=(0.5, 1.0), iterations=1, patch_size=64),
    ],
    "PieceAlignment": lambda: [
        RotationSearch(size=64, rotation_step=10.0),
        PieceAlignment(SIFTMatcher(), rotation_step=180.0, min_matches=8),
    ],
    "RotationSearch": lambda: [RotationSearch(size=64, rotation_step=15.0, mirrored=True, good=0.999)],
    "SyN": lambda: [SyN(FeatureEncoder(channels=(4,)), levels=[0], iterations=(2, 0))],
}


SLOW = ("DiffeomorphicDemons",)  # ITK takes long to load its filters
each_step = pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] * (name in SLOW)) for name in sorted(EXAMPLES)]
)


@pytest.fixture(autouse=True)
def _ants(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where ANTsPy is not installed, one in its place that finds no displacement."""
    if importlib.util.find_spec("ants") is None:
        still = SimpleNamespace(numpy=lambda: np.zeros((160, 160, 2)))
        found = {"fwdtransforms": ["0Warp.nii.gz"]}
        stand_in = SimpleNamespace(
            from_numpy=np.asarray, registration=lambda *_, **__: found, image_read=lambda _: still
        )
        monkeypatch.setitem(sys.modules, "ants", stand_in)


def is_step(member: Any) -> bool:
    if not inspect.isclass(member) or member is inferers.Step or "__call__" not in vars(member):
        return False
    return list(inspect.signature(member.__call__).parameters) == ["self", "images", "estimate"]


def test_every_step_has_an_example():
    assert {name for name in inferers.__all__ if is_step(getattr(inferers, name))} == set(EXAMPLES)


def made(name: str) -> Chain:
    return Chain(EXAMPLES[name](), inverse_iterations=5)


def _check(name: str, device: torch.device) -> None:
    wanted = made(name)(pair())
    found = made(name)(moved(pair(), device))
    assert found.ddf.device == found.inverse.device == device
    back = found.cpu()
    parts = [back.ddf, back.inverse, *(getattr(back.matches, f.name) for f in fields(back.matches))]
    assert {part.device.type for part in parts} == {"cpu"}
    assert [stage.name for stage in back.stages] == [stage.name for stage in wanted.stages]
    assert float((back.ddf - wanted.ddf).norm(dim=1).mean()) < 0.05


@each_step
def test_a_step_works_on_the_device(device, name):
    _check(name, device)


@each_step
def test_a_step_does_without_double_precision(single_precision_device, name):
    _check(name, single_precision_device)


def test_a_network_is_brought_to_the_device_once(device):
    network = NetworkPyramid(flow(), 1)
    chain = Chain([PatchPyramid(network, scales=(1.0,), iterations=1, patch_size=64)], inverse_iterations=1)
    chain(moved(pair(), device))
    assert {weight.device for weight in network.parameters()} == {device}
