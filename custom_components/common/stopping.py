"""Ctrl-C and SIGTERM end a command with one line and the exit code that shells expect, its files tidied up."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def stopped_by_signals(what: str = "nothing half-written is left") -> Iterator[None]:
    """While it lasts, a signal raises ``SystemExit`` with 128 + its number: 130 for Ctrl-C, 143 for SIGTERM.

    Args:
        what: the line says beside that the command was stopped.
    """
    if threading.current_thread() is not threading.main_thread():  # only that one may take signals
        yield
        return

    def stop(number: int, _: FrameType | None) -> None:
        for each in SIGNALS:  # a second one must not break off the tidying up
            signal.signal(each, signal.SIG_IGN)
        print(f"\nstopped by {signal.Signals(number).name}: {what}", file=sys.stderr, flush=True)
        raise SystemExit(128 + number)

    before = [signal.signal(each, stop) for each in SIGNALS]
    try:
        yield
    finally:
        for each, handler in zip(SIGNALS, before, strict=True):
            signal.signal(each, handler)
