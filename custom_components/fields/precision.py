"""Double precision on devices that may have none."""

from __future__ import annotations

from torch import Tensor


def in_double(values: Tensor) -> Tensor:
    """``values`` as float64: where they are, or on the CPU if their device, as Apple's MPS, knows no such numbers."""
    try:
        return values.double()
    except TypeError:  # what torch raises then
        return values.cpu().double()
