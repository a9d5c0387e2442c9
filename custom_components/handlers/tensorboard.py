"""TensorBoard's log of a training, where its package is installed."""

from __future__ import annotations

from importlib.util import find_spec

from custom_components.common.console import say
from custom_components.common.distributed import is_follower


def no_tensorboard() -> bool:
    """Whether this process writes no log: another one does, or the package is missing, which is said."""
    if is_follower():
        return True
    if find_spec("tensorboard") is None:
        say("note: tensorboard is not installed (pip install warpzoo[tensorboard]); the losses are in curve.csv")
        return True
    return False
