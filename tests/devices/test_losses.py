"""Every loss of the package computes on a device that is not the CPU what it computes on the CPU, and gives gradients.

Losses are found in the package: a new one is tried as a similarity of two images, or gets an example here.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Callable, Iterator
from copy import deepcopy
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map

from custom_components import losses
from custom_components.losses import (
    DeepSimLoss,
    EndPointLoss,
    FieldLoss,
    GuidedLoss,
    NMILoss,
    PyramidLoss,
    SaliencyFieldLoss,
    ShrunkenLoss,
    StructuralNCCLoss,
)  # fmt: skip
from custom_components.networks import FeatureEncoder
from custom_components.transforms import DenseSIFT

Example = tuple[Callable[[], nn.Module], Callable[[], tuple[Any, ...]]]


def found_losses() -> Iterator[type[nn.Module]]:
    for module in pkgutil.iter_modules(losses.__path__, f"{losses.__name__}."):
        for _, member in inspect.getmembers(importlib.import_module(module.name), inspect.isclass):
            if issubclass(member, nn.Module) and member.__module__ == module.name:
                yield member


def pair(channels: int = 1) -> tuple[Tensor, ...]:
    return tuple(torch.rand(2, channels, 24, 32) for _ in range(2))


def masked() -> tuple[Tensor, ...]:
    return *pair(), (torch.rand(2, 1, 24, 32) > 0.3).float()


def field(scale: float = 2.0) -> Tensor:
    return scale * torch.randn(2, 2, 24, 32)


def extractor() -> nn.Module:
    return FeatureEncoder(channels=(4, 8), dropout=0.0)


def guided() -> tuple[Any, ...]:
    points = [torch.rand(2, 1, 5, 2) * 20 for _ in range(2)]
    item = {"image": torch.rand(2, 2, 24, 32), "mask": torch.ones(2, 2, 24, 32), "valid": torch.ones(2, 1, 5)}
    return [field()], {**item, "points_moving": points[0], "points_fixed": points[1]}


EXAMPLES: dict[str, Example] = {
    "AffineSimilarityLoss": (
        losses.AffineSimilarityLoss,
        lambda: (torch.eye(2, 3).expand(2, 2, 3).clone(), torch.rand(2, 2, 24, 32)),
    ),
    "BoundaryLoss": (losses.BoundaryLoss, lambda: (field(),)),
    "CorrespondenceLoss": (losses.CorrespondenceLoss, lambda: (torch.rand(2, 7, 4), torch.rand(2, 7, 4))),
    "CurvatureLoss": (losses.CurvatureLoss, lambda: (field(), torch.rand(2, 1, 24, 32))),
    "DeepSimLoss": (lambda: DeepSimLoss(extractor()), masked),
    "EndPointLoss": (EndPointLoss, lambda: (field(), torch.cat([field(), torch.ones(2, 1, 24, 32)], 1))),
    "FieldLoss": (
        lambda: FieldLoss(NMILoss(minimum=16), supervision=1.0, classes=3),
        lambda: (field(), torch.cat([*pair(), *torch.randint(3, (2, 2, 1, 24, 32)).float()], dim=1)),
    ),
    "FieldVariationLoss": (losses.FieldVariationLoss, lambda: (field(),)),
    "ForwardDiffusionLoss": (losses.ForwardDiffusionLoss, lambda: (field(),)),
    "GuidedLoss": (lambda: GuidedLoss([1.0], features=DenseSIFT(step=4), boundary=1.0, field_sigma=2.0), guided),
    "KeypointDistanceLoss": (
        losses.KeypointDistanceLoss,
        lambda: (field(), torch.rand(2, 5, 2) * 20, torch.rand(2, 5, 2) * 20, torch.ones(2, 5)),
    ),
    "PyramidLoss": (
        lambda: PyramidLoss(EndPointLoss(), [1.0, 0.5]),
        lambda: ([field(), field()], torch.cat([field(), torch.ones(2, 1, 24, 32)], 1)),
    ),
    "NMILoss": (lambda: NMILoss(fraction=1.0), masked),
    "SaliencyFieldLoss": (
        lambda: SaliencyFieldLoss(NMILoss(), weighting="mismatch", epe_weight=1.0),
        lambda: (
            torch.cat([field(), field(), torch.rand(2, 1, 24, 32)], dim=1),
            torch.cat([*pair(), field(), torch.ones(2, 1, 24, 32)], dim=1),
        ),
    ),
    "ShrunkenLoss": (lambda: ShrunkenLoss(NMILoss()), masked),
    "StructuralNCCLoss": (StructuralNCCLoss, lambda: (*pair(3), torch.rand(2, 1, 24, 32))),
}


@pytest.mark.parametrize("kind", sorted(found_losses(), key=lambda kind: kind.__name__))
def test_a_loss_follows_its_images_to_the_device(device, kind):
    make, arguments = EXAMPLES.get(kind.__name__, (kind, masked))
    torch.manual_seed(0)
    here: Any = arguments()
    loss = make()
    assert isinstance(loss, kind)
    torch.manual_seed(1)  # of what a loss draws
    wanted = loss(*here)
    there = tree_map(lambda part: part.to(device) if isinstance(part, Tensor) else part, here)
    tree_leaves(there[0])[0].requires_grad_()
    torch.manual_seed(1)
    value = deepcopy(loss).to(device)(*there)
    assert value.device == device
    assert float(value.detach()) == pytest.approx(float(wanted), rel=1e-4, abs=1e-6)
    value.backward()
    gradient = tree_leaves(there[0])[0].grad
    assert gradient.device == device
    assert gradient.isfinite().all()


@pytest.mark.parametrize("spatial", [(20, 24), (16, 18, 20)], ids=["2-D", "3-D"])
@pytest.mark.parametrize("name", ["mse", "ncc", "nmi", "mind", "charbonnier", "deepsim"])
def test_a_similarity_by_name_follows(device, name, spatial):
    network = FeatureEncoder(len(spatial), channels=(4, 8)) if name == "deepsim" else None
    loss = losses.similarity_named(name, len(spatial), extractor=network).to(device)
    assert loss(torch.rand(1, 1, *spatial, device=device), torch.rand(1, 1, *spatial, device=device)).device == device
