"""What makes the command start sooner: five thousand modules are imported before the first pixel is read.

Python looks for garbage over and over while they are imported, of which there is none, and Ignite's imports compile
dozens of TorchScript functions that nothing here calls. benchmarks/startup.py prints the split.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Sequence

# what an option or config that reads TorchScript has in its name
SCRIPTED = ("torchscript", "exported", "_ts", ".ts", "_trt")


def begin(arguments: Sequence[str]) -> None:
    """Call before torch is imported.

    Args:
        arguments: of the command line; where they name TorchScript it stays on.
    """
    gc.disable()
    if not any(part in argument for argument in arguments for part in SCRIPTED):
        os.environ.setdefault("PYTORCH_JIT", "0")


def done() -> None:
    """Call when everything is imported: what is there by then stays, so garbage is looked for among the new only."""
    if not gc.isenabled():
        gc.freeze()
        gc.enable()
