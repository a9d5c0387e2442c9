from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from custom_components.common.errors import InputError
from custom_components.matching import VGGPatchDescriptor
from custom_components.matching import vgg as module
from custom_components.matching.vgg import VGG16Head

# Index of each convolution in torchvision's vgg16().features and what it turns into what.
TORCHVISION = {
    0: (3, 64), 2: (64, 64), 5: (64, 128), 7: (128, 128), 10: (128, 256), 12: (256, 256), 14: (256, 256),
    17: (256, 512), 19: (512, 512), 21: (512, 512), 24: (512, 512), 26: (512, 512), 28: (512, 512),
}  # fmt: skip


@pytest.fixture
def thin(monkeypatch: pytest.MonkeyPatch) -> None:
    """VGG16 with few channels and patches of 64 pixels: the same code, a thousandth of the work."""
    monkeypatch.setattr(module, "BLOCKS", ((4, 2), (4, 2), (8, 3), (8, 3), (8, 3)))
    monkeypatch.setattr(module, "SIZE", 64)
    monkeypatch.setattr(module, "FEATURES", 16)


def test_the_parameters_are_named_and_sized_as_in_torchvision() -> None:
    with torch.device("meta"):
        shapes = {name: tuple(value.shape) for name, value in VGG16Head().state_dict().items()}
    expected: dict[str, tuple[int, ...]] = {"classifier.0.weight": (4096, 25088), "classifier.0.bias": (4096,)}
    for index, (inputs, outputs) in TORCHVISION.items():
        expected |= {f"features.{index}.weight": (outputs, inputs, 3, 3), f"features.{index}.bias": (outputs,)}
    assert shapes == expected


@pytest.mark.usefixtures("thin")
def test_patches_are_described(tissue: Tensor, tmp_path: Path) -> None:
    torch.manual_seed(0)
    state = VGG16Head().state_dict() | {"classifier.3.weight": torch.zeros(2, 2)}  # later layers may be there
    torch.save(state, tmp_path / "vgg.pth")
    describe = VGGPatchDescriptor(tmp_path / "vgg.pth", half_widths=(10, 20), rotations=2, batch=3)
    points = torch.tensor([[40.0, 50.0], [90.0, 60.0], [20.0, 30.0], [64.0, 64.0]])
    image = tissue[..., :128, :128]
    described = describe(image, points)
    assert described.shape == (4, 2, 32)
    torch.testing.assert_close(described.norm(dim=2), torch.ones(4, 2))
    # zero mean and unit deviation: a linear change of the grey levels changes nothing
    inner = points[:2]
    torch.testing.assert_close(describe(0.5 * image + 0.2, inner), described[:2], atol=1e-4, rtol=1e-3)
    assert describe(image, torch.zeros(0, 2)).shape[:2] == (0, 2)


def test_without_weights_the_way_out_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"vgg16-397923af.pth, or take XFeatDescriptor"):
        VGGPatchDescriptor()
    with pytest.raises(InputError, match="does not exist"):
        VGGPatchDescriptor(tmp_path / "none.pth")


@pytest.mark.usefixtures("thin")
def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    torch.save({"fc.weight": torch.zeros(3, 3)}, tmp_path / "other.pth")
    with pytest.raises(InputError, match="'vgg16' lack"):
        VGGPatchDescriptor(tmp_path / "other.pth")
