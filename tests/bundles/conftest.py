"""What the bundles' tests share."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from custom_components.pairs.demo import write_demo_pair

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def demo_metrics(tmp_path: Path) -> Callable[[str], dict[str, Any]]:
    """The metrics of the demo's pair, registered by a bundle's evaluate.yaml from the command line."""

    def of(bundle: str) -> dict[str, Any]:
        pair = write_demo_pair(tmp_path / "pair")
        command = [
            sys.executable, "-m", "monai.bundle", "run", "--config_file", f"bundles/{bundle}/configs/evaluate.yaml",
            "--moving", str(pair.moving), "--fixed", str(pair.fixed), "--moving_landmarks", str(pair.moving_landmarks),
            "--fixed_landmarks", str(pair.fixed_landmarks), "--id", "demo", "--output_dir", str(tmp_path / "out"),
        ]  # fmt: skip
        subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
        metrics: dict[str, Any] = json.loads((tmp_path / "out" / "demo" / "metrics.json").read_text())
        assert metrics["status"] == "ok"
        return metrics

    return of
