"""Where the seconds of one registration by the command go, the demo pair, this machine.

    python -m benchmarks.startup --runs 3

Each row is a process of its own; the smallest of ``runs``. Wall and CPU seconds, the latter of all cores.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import fire

from custom_components.pairs.demo import write_demo_pair


def startup(runs: int = 3) -> str:
    """Markdown table of wall and CPU seconds.

    Args:
        runs: of each row.
    """
    with tempfile.TemporaryDirectory() as folder:
        pair = write_demo_pair(Path(folder) / "pair")
        register = ["-m", "warpzoo", "register", str(pair.moving), str(pair.fixed), "--output_dir", f"{folder}/out"]
        rows = {
            "python": ["-c", "pass"],
            "`warpzoo register --help`": ["-m", "warpzoo", "register", "--help"],
            "import torch": ["-c", "import torch"],
            "import torch, monai.bundle, ignite": ["-c", "import torch, monai.bundle, ignite.engine"],
            "`warpzoo register`, without the report": [*register, "--report", "false"],
            "`warpzoo register`": register,
        }
        lines = ["| | wall s | CPU s |", "| --- | --- | --- |"]
        for name, arguments in rows.items():
            wall, cpu = min(measured(arguments) for _ in range(runs))
            lines.append(f"| {name} | {wall:.1f} | {cpu:.1f} |")
    return "\n".join(lines)


def measured(arguments: list[str]) -> tuple[float, float]:
    """(wall, CPU) seconds of a process of Python with these arguments."""
    before, start = os.times(), time.perf_counter()
    subprocess.run([sys.executable, *arguments], check=True, capture_output=True)
    after = os.times()
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return time.perf_counter() - start, cpu


if __name__ == "__main__":
    fire.Fire(startup)
