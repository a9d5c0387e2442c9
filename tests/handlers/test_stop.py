"""A training ends when its loss is flat, and remembers that over a restart."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from ignite.engine import Engine

from custom_components.handlers import StopWhenFlat


def epochs_of(losses: Sequence[float], stop: StopWhenFlat, done: int = 0) -> int:
    """Epochs after which a run over ``losses``, one an epoch, ends."""
    engine = Engine(lambda engine, _: {"loss": losses[engine.state.epoch - 1]})
    stop.attach(engine)
    engine.state.epoch = done
    engine.run([0, 0], max_epochs=len(losses))
    return engine.state.epoch


@pytest.mark.parametrize(
    ("losses", "ends"),
    [
        ([5, 4, 3, 2, 1], 5),
        ([5, 5, 5, 5, 5], 3),
        ([5, 4, 4.1, 3, 3.1, 3.2, 1], 6),
        ([5, 4.99, 4.98, 4.97], 3),  # falls, but by less than asked for
        ([3, 4, 5, 6], 3),
    ],
)
def test_the_run_ends_after_so_many_epochs_without_a_better_loss(losses, ends):
    assert epochs_of(losses, StopWhenFlat(patience=2, improvement=0.01)) == ends


def test_a_restart_goes_on_counting():
    first = StopWhenFlat(patience=3, improvement=0.01)
    epochs_of([5, 5, 5], first)
    second = StopWhenFlat(patience=3, improvement=0.01)
    second.load_state_dict(first.state_dict())
    assert second.flat == 2
    assert epochs_of([0, 0, 0, 5, 5, 5, 5], second, done=3) == 4
