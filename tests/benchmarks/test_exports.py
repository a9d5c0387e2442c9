"""The exports of small networks are right at sizes that they were not made at; the table says what fails."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from benchmarks import exports
from benchmarks.exports import CASES, FORMS, Case, benchmark_network, main, measured, write_onnx
from custom_components.common.errors import InputError
from custom_components.networks import MaskFlownetS, NetworkPyramid, PatchUNet, XFeatMaps, joint_saliency_network

ROOT = Path(__file__).resolve().parents[2]
PAIR, ONE = Case("any"), Case("any", channels=1, multiple=32)
NETWORKS = {
    "patch": (lambda: NetworkPyramid(PatchUNet(channels=(4, 8), head_channels=(4,)), 2, 2.0), PAIR),
    "joint saliency": (lambda: joint_saliency_network(channels=(4, 8), local_channels=(4,)), PAIR),
    "xfeat": (XFeatMaps, ONE),
    "mask flownet": (
        lambda: MaskFlownetS(channels=[4] * 6, estimator_channels=[4], context_channels=[4] * 6),
        Case("any", multiple=64),
    ),
}


class Wild(nn.Module):
    """Larger outputs than a network has at its start."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> Tensor:
        """1000 times the output."""
        return 1000 * self.network(image)


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_onnx_runtime_agrees_at_other_batches_and_sizes(name, tmp_path):
    runtime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    make, case = NETWORKS[name]
    network = Wild(make()).eval()
    write_onnx(network, case, tmp_path / "model.onnx")
    session = runtime.InferenceSession(str(tmp_path / "model.onnx"))
    sizes = [(3, 64, 128), (1, 192, 64)] if case.multiple > 1 else [(3, 131, 150), (1, 64, 97)]
    for batch, height, width in sizes:
        image = torch.rand(batch, case.channels, height, width)
        with torch.no_grad():
            expected = network(image)
        found = torch.from_numpy(session.run(None, {"image": image.numpy()})[0])
        assert found.shape == expected.shape
        assert (found - expected).abs().max() < 1e-3 * expected.abs().max() + 1e-4


@pytest.mark.parametrize("name", CASES)
def test_every_case_names_a_network_with_weights(name, monkeypatch):
    monkeypatch.chdir(ROOT)
    assert not benchmark_network(CASES[name]).training


def test_the_table_has_differences_and_what_fails(monkeypatch, tmp_path):
    monkeypatch.setattr(exports, "benchmark_network", lambda case: nn.Identity())
    monkeypatch.setitem(FORMS, "half off", lambda network, case, file: lambda image: image + 0.5)

    def broken(network: nn.Module, case: Case, file: Path) -> None:
        raise RuntimeError("can't\nat all")

    monkeypatch.setitem(FORMS, "broken", broken)
    rows = measured("patch_nonrigid", ["network", "half off", "broken"], [32, 48], 1, tmp_path)
    cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]
    assert [row[1] for row in cells] == ["network", "half off", "broken"]
    assert (cells[0][4], cells[1][4], cells[1][6]) == ("0.0e+00", "5.0e-01", "5.0e-01")
    assert cells[2][2] == "RuntimeError: can't"
    assert len({len(row) for row in cells}) == 1


@pytest.mark.parametrize("arguments", [["--networks", "none"], ["--forms", "none"]])
def test_an_unknown_name_says_which_there_are(arguments):
    with pytest.raises(InputError, match="'none' is none of patch_nonrigid"):
        main(arguments)
