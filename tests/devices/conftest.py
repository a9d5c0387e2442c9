"""A device that is not the CPU, see ``pretended``."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from tests.devices import pretended

# Torch counts the devices at the first backward pass of a process, so another test's would come too early.
if pretended.supported():
    pretended.register()


@pytest.fixture
def device() -> Iterator[torch.device]:
    """A pretended accelerator that obeys CUDA's rules."""
    if not pretended.supported():
        pytest.skip("a device written in Python needs torch 2.9")
    with pretended.active() as found:
        yield found


@pytest.fixture
def single_precision_device() -> Iterator[torch.device]:
    """A pretended accelerator without double precision, such as Apple's MPS."""
    if not pretended.supported():
        pytest.skip("a device written in Python needs torch 2.9")
    with pretended.active(float64=False) as found:
        yield found
