"""What a run says while it works: lines to the console, unless whoever runs it listens in another way."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

LOG = "warpzoo.log"  # of an output folder: tracebacks of what nobody foresaw, what libraries say


class Listener:
    """Hears what a run says; this one prints lines and leaves stages out."""

    def say(self, text: str) -> None:
        """A line for the person at the keyboard."""
        print(text, flush=True)

    def stage(self, name: str) -> None:
        """A stage of the current pair begins, such as "reading"."""

    def pair(self, number: int, count: int, name: str) -> None:
        """The pair ``number`` of ``count`` begins."""

    def stop(self) -> None:
        """The run is over."""


class Quiet(Listener):
    """Says nothing."""

    def say(self, text: str) -> None:
        """Nothing."""


_listener: ContextVar[Listener] = ContextVar("listener", default=Listener())  # noqa: B039  (it holds no state)


def counted(number: int, name: str) -> str:
    """The number with its noun: 1 pair, 2 pairs."""
    return f"{number} {name}" if number == 1 else f"{number} {name}s"


def say(text: str) -> None:
    """Say a line."""
    _listener.get().say(text)


def stage(name: str) -> None:
    """Say that a stage of the current pair begins."""
    _listener.get().stage(name)


def begin(number: int, count: int, name: str) -> None:
    """Say that a pair begins."""
    _listener.get().pair(number, count, name)


@contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """While it lasts, ``listener`` hears what is said."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)
