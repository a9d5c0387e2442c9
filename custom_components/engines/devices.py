"""The device that a config names."""

from __future__ import annotations

import os
import sys

import cv2
import torch

from custom_components.bundles.keys import check_current


def check_device(device: str | torch.device) -> None:
    """End with one clear line where the device is not there or a key is wrong, before anything is read or built.

    It is what every config begins with, so it is here that the keys of a config are checked, and that OpenCV is told
    how many threads it may use.

    Args:
        device: as in torch; plain text from the command line.

    Raises:
        SystemExit: torch knows no such device, this machine lacks it, or a key or value of the config is wrong.
    """
    check_current()
    limit_threads()
    try:
        torch.zeros(1, device=device).sum().item()  # some drivers fail no earlier than at the first kernel
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        sys.exit(f"error: device '{device}' is not available here: {str(error).splitlines()[0]}")


def limit_threads() -> None:
    """Make OpenCV heed ``OMP_NUM_THREADS`` as torch and BLAS do; it has threads of its own, one a core."""
    first = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    if first.isdigit() and int(first) > 0:
        cv2.setNumThreads(int(first))
