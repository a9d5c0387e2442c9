"""The histology_registration bundle as it is shipped, on the demo's pair."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from monai.bundle import ckpt_export, run, verify_net_in_out

from custom_components.bundles import open_bundle
from custom_components.common.weights import load_pretrained
from custom_components.fields import ErrorMap
from custom_components.fields.error_map import read_error_map
from custom_components.inferers import Chain
from custom_components.inferers.error_model import ErrorModel
from custom_components.pairs.demo import write_demo_pair

ROOT = Path(__file__).resolve().parents[2]
BUNDLE = ROOT / "bundles" / "histology_registration"
CONFIG = "bundles/histology_registration/configs/inference.yaml"
# of made-up numbers, so that the tests do not depend on the calibration
FUNCTION = {"place": {"disagreement": 0.3, "unlike": 0.2}, "pair": {"spread": 0.2}}
SMALL = {"working_size": 256, "rotation_step": 60.0, "min_matches": 8, "report": False, "device": "cpu", "id": "demo"}


@pytest.fixture
def error_model(tmp_path: Path) -> str:
    """The file of an error model that states something for every pair."""
    file = tmp_path / "stand_in.json"
    file.write_text(json.dumps({"expected": {"intercept": -3.0, **FUNCTION}, "bound": {"intercept": -2.0, **FUNCTION}}))
    return str(file)


@pytest.fixture
def registered(tmp_path: Path, error_model: str, monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, Any]]:
    """metrics.json of the demo's pair, with other values for keys."""
    monkeypatch.chdir(ROOT)

    def of(**options: Any) -> dict[str, Any]:
        pair = write_demo_pair(tmp_path / "pair")
        files = {
            "moving": pair.moving, "fixed": pair.fixed, "moving_landmarks": pair.moving_landmarks,
            "fixed_landmarks": pair.fixed_landmarks, "output_dir": tmp_path / "out", "error_model": error_model,
        }  # fmt: skip
        own = {**{name: str(file) for name, file in files.items()}, **SMALL, **options}
        run(config_file=CONFIG, **own)
        metrics: dict[str, Any] = json.loads((tmp_path / "out" / "demo" / "metrics.json").read_text())
        assert metrics["status"] == "ok", metrics["reason"]
        return metrics

    return of


def stage(metrics: dict[str, Any]) -> dict[str, Any]:
    """What the consensus says of itself."""
    found: dict[str, Any] = metrics["stages"]["consensus"]
    return found


@pytest.mark.parametrize(
    ("quality", "fields", "proposals"),
    [
        ("fast", 1, 3 * 2 + 1),
        ("balanced", 3, 3 * 4 + 3),
        pytest.param("best", 3, 3 * 4 + 3, marks=pytest.mark.slow),
    ],
)
def test_each_preset_aligns_the_demo_pair_and_states_its_error(quality, fields, proposals, registered, tmp_path):
    """At a small working size, so that the presets differ by what they ask; their own sizes are in test_presets.py."""
    metrics = registered(quality=quality)
    assert metrics["landmarks"]["mean"] < 0.1 * metrics["landmarks"]["initial_mean"]
    assert metrics["folding_share"] == 0
    assert (stage(metrics)["fields"], stage(metrics)["proposals"]) == (fields, proposals)
    assert ("correction" in stage(metrics)) == (quality != "fast")
    errors = metrics["expected_error"]
    assert 0 < errors["median"] < errors["p95"]
    estimate: ErrorMap = read_error_map(tmp_path / "out" / "demo" / "error_estimate.mha")
    expected, bound = estimate.at(np.array([[150.0, 150.0], [200.0, 100.0]])).T
    assert (expected > 0).all()
    assert (bound >= expected).all()


def test_candidates_and_the_error_model_are_replaced_by_config(registered, tmp_path):
    flow = {"_target_": "custom_components.inferers.FlowRefinement"}
    metrics = registered(quality="fast", candidates=[flow, flow], renderings=["luminance"], error_model="$None")
    assert (stage(metrics)["fields"], stage(metrics)["proposals"]) == (5, 6 + 5)  # each from two starts
    assert metrics["expected_error"]["median"] > 0  # the estimate that all methods share stands in
    assert (tmp_path / "out" / "demo" / "error_estimate.mha").is_file()


@pytest.mark.parametrize("networks", [False, "false"])
def test_the_networks_are_left_out_by_the_word_of_a_command_line(networks, error_model):
    parser = open_bundle(BUNDLE, error_model=error_model).parser(networks=networks)
    chain = parser.get_parsed_content("inferer")
    assert isinstance(chain, Chain)
    assert chain.steps[-1].candidates == []


def test_the_error_model_is_that_of_what_was_asked():
    """Both give their file, the one with a correction that of its doubt."""
    models = [
        open_bundle(BUNDLE).parser(device="cpu", **options).get_parsed_content("error_model")
        for options in ({"quality": "fast"}, {"quality": "balanced"}, {"correction": "false"}, {"decoder": "$None"})
    ]
    names = [Path(model).name.removesuffix(".json") for model in models]
    assert names == ["error_model_fast", "error_model", "error_model_fast", "error_model_fast"]
    assert "doubt" not in ErrorModel.read(models[0]).expected.place


@pytest.mark.parametrize("name", ["inference", pytest.param("evaluate", marks=pytest.mark.slow)])
def test_an_unknown_preset_is_refused_in_one_line(name, tmp_path):
    command = [
        sys.executable, "-m", "monai.bundle", "run", "--config_file", str(BUNDLE / "configs" / f"{name}.yaml"),
        "--quality", "balancd", "--moving", "a.png", "--fixed", "b.png", "--output_dir", str(tmp_path / "out"),
    ]  # fmt: skip
    done = subprocess.run(command, cwd=ROOT, env=os.environ, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert last == "error: --quality: unknown preset 'balancd'; did you mean 'balanced'?"
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()


def test_the_weights_are_those_of_patch_nonrigid_in_half_precision():
    own, first = (
        torch.load(ROOT / "bundles" / name / "models" / "model.pt", weights_only=True)
        for name in ("histology_registration", "patch_nonrigid")
    )
    assert own.keys() == first.keys()
    assert all(value.dtype == torch.float16 for value in own.values() if value.is_floating_point())
    assert all(torch.equal(own[name], value.to(own[name].dtype)) for name, value in first.items())
    assert all(torch.isfinite(value).all() for value in own.values())


@pytest.mark.slow
def test_monais_tools_take_the_network_and_the_export_equals_it(tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    files = {"meta_file": str(BUNDLE / "configs" / "metadata.json"), "config_file": CONFIG}
    verify_net_in_out("network_def", **files)
    ckpt_export("network_def", str(tmp_path / "model.ts"), str(BUNDLE / "models" / "model.pt"), **files)
    torchscript = load_pretrained(torch.nn.Identity(), None, tmp_path / "model.ts")
    network = open_bundle(BUNDLE, error_model=None).parser().get_parsed_content("network").eval()
    image = torch.rand(2, 2, 128, 150)
    assert next(network.parameters()).dtype == torch.float32
    with torch.no_grad():
        for level in range(3):
            assert torch.allclose(torchscript(image, level), network(image, level), atol=1e-5)


@pytest.mark.slow
def test_a_pair_from_the_command_line_is_better_after_than_before(demo_metrics):
    metrics = demo_metrics("histology_registration")
    assert metrics["landmarks"]["mean"] < 0.1 * metrics["landmarks"]["initial_mean"]
