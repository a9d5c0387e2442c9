"""The model zoo's own checks find nothing wrong with a packed bundle, run offline from a checkout of the zoo."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from custom_components.share import pack

ROOT = Path(__file__).resolve().parents[2]
BUNDLES = sorted(path.parent.parent for path in ROOT.glob("bundles/*/configs/metadata.json"))


def _given(variable: str) -> Path:
    named = os.environ.get(variable)
    if not named:
        pytest.skip(f"set {variable} to run the model zoo's checks")
    return Path(named)


@pytest.mark.slow
@pytest.mark.parametrize("bundle", BUNDLES, ids=lambda path: path.name)
def test_zoo_finds_nothing_wrong(bundle, schemas, tmp_path):
    check, zoo = _given("WARPZOO_ZOO_CHECK"), _given("WARPZOO_ZOO")
    pack(str(bundle), str(tmp_path))
    command = [
        sys.executable, str(check), "--zoo", str(zoo), "--bundle", str(tmp_path / bundle.name), "--schemas",
        str(schemas), "--apps",
    ]  # fmt: skip
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=1800, check=False
    )
    lines = done.stdout.splitlines()
    assert lines, done.stderr[-2000:]
    assert ", 0 failed" in lines[-1], done.stdout + done.stderr[-2000:]
    for name in ("metadata against its schema", "data shape", "TorchScript", "inference.yaml: infer properties"):
        assert any(line.startswith("ok") and name in line for line in lines), done.stdout
