"""The patch_nonrigid bundle with its own weights, on the demo's pair."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from monai.bundle import ckpt_export, verify_net_in_out

from custom_components.common.weights import load_pretrained
from custom_components.inferers import Estimate, PairImages, PatchPyramid
from custom_components.networks import NetworkPyramid, PatchUNet

ROOT = Path(__file__).resolve().parents[2]
BUNDLE = ROOT / "bundles" / "patch_nonrigid"


def release() -> NetworkPyramid:
    network = NetworkPyramid(PatchUNet(channels=(16, 32, 64, 128, 256), head_channels=(16, 16)), 3, field_sigma=7.0)
    load_pretrained(network, BUNDLE / "models" / "model.pt")
    return network.eval()


def textured(side: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    octaves = [
        torch.nn.functional.interpolate(
            torch.rand(1, 1, side // step, side // step, generator=generator), (side, side), mode="bicubic"
        )
        for step in (4, 8, 16)
    ]
    return (sum(octaves) / 3).clamp(0, 1)


def test_the_released_weights_find_a_known_warp_and_its_direction() -> None:
    side = 256
    moving = textured(side)
    rows, columns = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    truth = 4 * torch.stack([torch.sin(columns / 40), torch.cos(rows / 50)])[None]
    grid = torch.stack([rows, columns])[None] + truth
    fixed = torch.nn.functional.grid_sample(
        moving, ((2 * grid + 1) / side - 1).flip(1).movedim(1, -1), padding_mode="border", align_corners=False
    )
    mask = torch.ones_like(moving)
    pyramid = PatchPyramid(release(), patch_size=(128, 256, 256))
    found = pyramid(PairImages(moving, fixed, mask, mask), Estimate.identity((side, side))).ddf
    inside = (..., slice(24, -24), slice(24, -24))
    before, after = truth[inside].norm(dim=1).mean(), (found - truth)[inside].norm(dim=1).mean()
    assert after < 0.2 * before


@pytest.mark.slow
def test_a_pair_from_the_command_line_is_better_after_than_before(demo_metrics) -> None:
    metrics = demo_metrics("patch_nonrigid")
    assert metrics["landmarks"]["mean"] < 0.15 * metrics["landmarks"]["initial_mean"]


@pytest.mark.slow
def test_monais_tools_take_the_network_and_the_export_equals_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    files = {
        "meta_file": str(BUNDLE / "configs" / "metadata.json"),
        "config_file": str(BUNDLE / "configs" / "inference.yaml"),
    }
    verify_net_in_out("network_def", **files)
    ckpt_export("network_def", str(tmp_path / "model.ts"), str(BUNDLE / "models" / "model.pt"), **files)
    torchscript = load_pretrained(torch.nn.Identity(), None, tmp_path / "model.ts")
    network, image = release(), torch.rand(2, 2, 128, 150)
    with torch.no_grad():
        for level in range(3):
            assert torch.allclose(torchscript(image, level), network(image, level), atol=1e-5)
