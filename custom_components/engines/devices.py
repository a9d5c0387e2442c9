"""The device that a config names."""

from __future__ import annotations

import sys

import torch


def check_device(device: str | torch.device) -> None:
    """End with one clear line where the device is not there, before anything is read or built.

    Args:
        device: as in torch; plain text from the command line.

    Raises:
        SystemExit: torch knows no such device, or this machine lacks it.
    """
    try:
        torch.zeros(1, device=device).sum().item()  # some drivers fail no earlier than at the first kernel
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        sys.exit(f"error: device '{device}' is not available here: {str(error).splitlines()[0]}")
