"""The device that a config names."""

from __future__ import annotations

import sys

import torch

from custom_components.bundles.keys import check_current


def check_device(device: str | torch.device) -> None:
    """End with one clear line where the device is not there or a key is wrong, before anything is read or built.

    It is what every config begins with, so it is here that the keys of a config are checked.

    Args:
        device: as in torch; plain text from the command line.

    Raises:
        SystemExit: torch knows no such device, this machine lacks it, or a key or value of the config is wrong.
    """
    check_current()
    try:
        torch.zeros(1, device=device).sum().item()  # some drivers fail no earlier than at the first kernel
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        sys.exit(f"error: device '{device}' is not available here: {str(error).splitlines()[0]}")
