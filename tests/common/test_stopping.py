"""A signal ends a command with one line and its exit code, and the folder that was being written goes."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import sys, time
from custom_components.pairs import atomic_folder
from custom_components.common.stopping import stopped_by_signals
with stopped_by_signals("all is well"), atomic_folder(sys.argv[1]) as folder:
    (folder / "half").write_text("x")
    print("ready", flush=True)
    time.sleep(60)
"""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_one_line_the_right_code_and_nothing_half_written(tmp_path: Path, number: signal.Signals, code: int) -> None:
    command = [sys.executable, "-c", PROGRAM, str(tmp_path / "folder")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(number)
    _, said = process.communicate(timeout=60)
    assert process.returncode == code
    assert said.strip().splitlines()[-1] == f"stopped by {number.name}: all is well"
    assert "Traceback" not in said
    assert list(tmp_path.iterdir()) == []
