"""Every matcher and descriptor takes images of a device that is not the CPU and gives what is on the CPU.

They are found in ``matching.__all__`` by their arguments: a new one needs an example here. Where no weights can be had,
random ones stand in: what is found then is of no worth, but where it lies is seen.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from kornia.feature import LoFTR
from skimage import data
from torch import Tensor, nn

from custom_components import matching
from custom_components.common.errors import InputError
from custom_components.matching import (
    CachedMatcher,
    COTRMatcher,
    DeepKeypointMatcher,
    EncoderDescriptor,
    LearnedMatching,
    LightGlueMatcher,
    LoFTRMatcher,
    PyramidDescriptor,
    SIFTMatcher,
    SuperGlueMatcher,
    SuperPointDetector,
    SuperPointMatcher,
    VGGPatchDescriptor,
    XFeatDescriptor,
    XFeatMatcher,
    super_glue,
    vgg,
    window_points,
)
from custom_components.networks import CorrelatedCOTR, MaskFlownetS, SuperGlue, SuperPoint, XFeatFeatures

PROTOCOLS = (matching.Matcher, matching.PointDescriptor)


def images() -> tuple[Tensor, Tensor]:
    grey = 1 - torch.from_numpy(data.immunohistochemistry()).float().mean(dim=2)[None, None] / 255
    return grey[..., 20:148, 30:158].contiguous(), grey[..., 28:156, 26:154].contiguous()


def saved(network: nn.Module, file: Path, wrap: Callable[[Any], Any] = lambda state: state) -> Path:
    torch.save(wrap(network.state_dict()), file)
    return file


def mask_flownet() -> MaskFlownetS:
    return MaskFlownetS(1, (4,) * 6, (4, 4), (4,) * 6, up_channels=4, radius=2).eval()


def super_point(folder: Path) -> Path:
    network = SuperPoint()
    for parameter in network.parameters():
        nn.init.kaiming_normal_(parameter) if parameter.ndim > 1 else nn.init.zeros_(parameter)
    return saved(network, folder / "superpoint.pth")


def super_glue_matcher(folder: Path, device: torch.device, patch: pytest.MonkeyPatch) -> SuperGlueMatcher:
    small = SuperGlue(layers=2)
    patch.setattr(super_glue, "SuperGlue", lambda **_: SuperGlue(layers=2))
    weights = saved(small, folder / "superglue.pth")
    return SuperGlueMatcher(super_point(folder), weights, max_keypoints=64, min_score=0.0, device=device)


def loftr(folder: Path, device: torch.device, patch: pytest.MonkeyPatch) -> LoFTRMatcher:
    file = folder / "loftr.ckpt"
    state = LoFTR(pretrained=None).state_dict()
    torch.save({"state_dict": {f"matcher.{key}": value for key, value in state.items()}}, file)
    return LoFTRMatcher(file, min_score=0.0, device=device)


def lightglue(folder: Path, device: torch.device, patch: pytest.MonkeyPatch) -> LightGlueMatcher:
    matcher = LightGlueMatcher("disk", max_keypoints=64, device=device)
    try:
        matcher(*images())
    except InputError as error:
        pytest.skip(str(error))
    return matcher


def thin_vgg(folder: Path, device: torch.device, patch: pytest.MonkeyPatch) -> VGGPatchDescriptor:
    patch.setattr(vgg, "BLOCKS", ((4, 2), (4, 2), (8, 3), (8, 3), (8, 3)))
    patch.setattr(vgg, "SIZE", 64)
    patch.setattr(vgg, "FEATURES", 16)
    weights = saved(vgg.VGG16Head(), folder / "vgg.pth")
    return VGGPatchDescriptor(weights, half_widths=(10,), rotations=2, device=device)


MATCHERS: dict[str, Callable[[Path, torch.device, pytest.MonkeyPatch], Any]] = {
    "COTRMatcher": lambda folder, device, _: COTRMatcher(
        CorrelatedCOTR(XFeatFeatures(), width=16, heads=2, layers=1, hidden=16).to(device).eval(),
        side=64, queries=20, zooms=(0.5,), cycle=1.0, deviation=1.0,
    ),
    "CachedMatcher": lambda folder, device, _: CachedMatcher(XFeatMatcher(device=device), folder / "cache"),
    "DeepKeypointMatcher": lambda folder, device, _: DeepKeypointMatcher(XFeatDescriptor(device=device), per_window=1),
    "LightGlueMatcher": lightglue,
    "LoFTRMatcher": loftr,
    "SIFTMatcher": lambda *_: SIFTMatcher(),
    "SuperGlueMatcher": super_glue_matcher,
    "SuperPointMatcher": lambda folder, device, _: SuperPointMatcher(super_point(folder), 64, 0.0, device=device),
    "XFeatMatcher": lambda folder, device, _: XFeatMatcher(scales=(1.0, 0.5), max_displacement=0.3, device=device),
}  # fmt: skip
DESCRIPTORS: dict[str, Callable[[Path, torch.device, pytest.MonkeyPatch], Any]] = {
    "EncoderDescriptor": lambda folder, device, _: EncoderDescriptor(mask_flownet().to(device), (10.0,), rotations=2),
    "PyramidDescriptor": lambda folder, device, _: PyramidDescriptor(mask_flownet().to(device)),
    "VGGPatchDescriptor": thin_vgg,
    "XFeatDescriptor": lambda folder, device, _: XFeatDescriptor(rotations=2, device=device),
}


def called_with(*names: str) -> set[str]:
    members = {name: getattr(matching, name) for name in matching.__all__}
    return {
        name
        for name, member in members.items()
        if inspect.isclass(member) and member not in PROTOCOLS and "__call__" in vars(member)
        and list(inspect.signature(member.__call__).parameters)[1:3] == list(names)
    }  # fmt: skip


def places(found: Any) -> set[str]:
    assert is_dataclass(found)
    return {getattr(found, field.name).device.type for field in fields(found)}


def test_every_matcher_and_descriptor_has_an_example():
    assert called_with("moving", "fixed") == set(MATCHERS)
    assert called_with("image", "points") == set(DESCRIPTORS)


@pytest.mark.parametrize("name", sorted(MATCHERS))
def test_a_matcher_gives_pairs_on_the_cpu(device, tmp_path, monkeypatch, name):
    moving, fixed = images()
    matcher = MATCHERS[name](tmp_path, device, monkeypatch)
    found = matcher(moving.to(device), fixed.to(device))
    assert places(found) == {"cpu"}
    if name in ("XFeatMatcher", "SIFTMatcher", "CachedMatcher"):
        wanted = MATCHERS[name](tmp_path / "cpu", torch.device("cpu"), monkeypatch)(moving, fixed)
        assert len(found) == len(wanted) > 5
        assert torch.allclose(found.moving, wanted.moving, atol=1e-3)


@pytest.mark.parametrize("name", sorted(DESCRIPTORS))
def test_a_descriptor_gives_vectors_on_the_cpu(device, tmp_path, monkeypatch, name):
    image = images()[0].to(device)
    points = window_points(image, torch.ones_like(image), per_window=1)
    assert points.device == device
    described = DESCRIPTORS[name](tmp_path, device, monkeypatch)(image, points)
    assert described.device.type == "cpu"
    assert described.isfinite().all()


def test_a_detector_gives_keypoints_on_the_cpu(device, tmp_path):
    found = SuperPointDetector(super_point(tmp_path), 64, 0.0, device=device)(images()[0].to(device))
    assert places(found) == {"cpu"}


def test_what_a_training_learned_matches_on_its_device(device, tmp_path):
    matcher = LearnedMatching(PyramidDescriptor, tmp_path, per_window=1)(mask_flownet().to(device))
    moving, fixed = (image.to(device) for image in images())
    for _ in range(2):  # once found, once read
        assert places(matcher(moving, fixed, torch.ones_like(moving), torch.ones_like(fixed))) == {"cpu"}
