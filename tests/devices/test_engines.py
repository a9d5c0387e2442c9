"""What runs pairs outside of a bundle's evaluator, on a device that is not the CPU: clusters, series, metrics."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser
from skimage import data

from custom_components.engines import check_device
from custom_components.engines.cluster_worker import Job, forget, register_and_write
from custom_components.fields import affine_to_ddf
from custom_components.inferers import Chain, Estimate, PairImages
from custom_components.metrics import LandmarkError
from custom_components.pairs import Pair, write_image
from custom_components.series.pair_runs import PairRuns
from custom_components.series.sections import read_sections
from tests.devices.pretended import NAME

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def images(tmp_path: Path) -> list[Path]:
    files = []
    for number in range(2):
        cut = data.immunohistochemistry()[100 + 2 * number : 220 + 2 * number, 90:200].copy()
        cut[:8] = cut[-8:] = cut[:, :8] = cut[:, -8:] = 255
        files.append(tmp_path / f"image{number}.png")
        write_image(files[-1], cut.transpose(2, 0, 1))
    return files


class Moved:
    """A step that leaves everything on the device of the images."""

    def __call__(self, images: PairImages, estimate: Estimate) -> Estimate:
        assert images.fixed.device.type == images.moving_mask.device.type == NAME
        matrix = np.array([[1.0, 0, 2], [0, 1, 0], [0, 0, 1]])
        return Estimate(
            affine_to_ddf(matrix, images.shape).to(images.fixed), matrix, estimate.matches, estimate.dropped
        )


def config_of(output_dir: Path) -> dict[str, Any]:
    return {
        "device": f"{NAME}:0",
        "margin": 4, "channel": None, "working_size": 120, "micrometres_per_pixel": None, "report": False,
        "preprocessing": "%bundles/hybrid_matching/configs/inference.yaml::preprocessing",
        "inferer": {
            "_target_": f"{Chain.__module__}.Chain", "steps": [{"_target_": f"{__name__}.Moved"}],
        },
        "evaluator": {
            "preprocessing": "@preprocessing", "inferer": "@inferer", "device": "@device",
            "handlers": [
                {
                    "_target_": "custom_components.handlers.RegistrationWriter", "output_dir": str(output_dir),
                    "report": True,
                },
            ],
        },
    }  # fmt: skip


def test_a_process_of_a_cluster_works_on_the_device(device, images, tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    parser = ConfigParser(config_of(tmp_path / "out"))
    parser.resolve_macro_and_relative_ids()
    job = Job("here", parser.get(), ROOT, tmp_path / "out")
    outcome = register_and_write(Pair("p", *images), None, job)
    forget("here")
    assert outcome.reason == ""
    assert outcome.metrics["status"] in ("ok", "poor")
    assert outcome.metrics["inverse_error"]["median"] < 0.01


def test_a_pair_of_a_series_is_registered_on_the_device(device, images, tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    (tmp_path / "sections.csv").write_text("id,image\na,image0.png\nb,image1.png")
    bundle = "bundles/semantic_similarity"
    settings = {"device": f"{NAME}:0", "working_size": 120, "report": False}
    runs = PairRuns(read_sections(tmp_path / "sections.csv"), bundle, tmp_path / "series", settings)
    outcome = runs(0, 1)
    assert outcome.status in ("ok", "poor")
    assert outcome.similarity is not None


def test_landmarks_of_the_device_are_measured(single_precision_device):
    metric = LandmarkError()
    warped, fixed = torch.rand(2, 4, 2), torch.rand(2, 4, 2)
    wanted = LandmarkError()(warped, fixed, diagonal=torch.tensor([10.0, 20.0]))
    found = metric(warped.to(single_precision_device), fixed.to(single_precision_device), diagonal=[10, 20])
    assert torch.allclose(found, wanted)
    there = torch.tensor([10.0, 20.0], device=single_precision_device)
    assert torch.allclose(metric(warped, fixed, diagonal=there), wanted)


def test_a_device_is_there_or_named():
    check_device("cpu")
    check_device(torch.device("cpu"))
    for name in ("cuda:9", "no such", "mps:0", "xpu"):
        with pytest.raises(SystemExit, match=f"device '{name}' is not available here: .+"):
            check_device(name)
