"""One line a pair on the console: stage, progress, time left; at the end the status and where the report is."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

from rich.console import Console
from rich.status import Status

from custom_components.bundles.documented import description
from custom_components.common.console import Listener, listening
from warpzoo import startup
from warpzoo.quiet import logged

if TYPE_CHECKING:
    from custom_components.bundles import Bundle


class Shown(Listener):
    """Shows what a run says with a moving line below it on a terminal; elsewhere lines only."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.status: Status | None = None
        self.start = perf_counter()
        self.number, self.count, self.name = 0, 0, ""

    def say(self, text: str) -> None:
        """A line that stays."""
        self.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def pair(self, number: int, count: int, name: str) -> None:
        """A pair begins."""
        startup.done()
        self.number, self.count, self.name = number, count, name
        self.stage("reading")

    def stage(self, name: str) -> None:
        """A stage begins."""
        if not self.console.is_terminal:
            return
        text = f"[{self.number}/{self.count}] {self.name}: {name}, {self._times()}".replace("[", "\\[")
        if self.status is None:
            self.status = self.console.status(text)
            self.status.start()
        else:
            self.status.update(text)

    def _times(self) -> str:
        gone = perf_counter() - self.start
        done = self.number - 1
        left = f", {_clock(gone / done * (self.count - done))} left" if done > 0 else ""
        return f"{_clock(gone)}{left}"

    def stop(self) -> None:
        """No more of the moving line."""
        if self.status is not None:
            self.status.stop()
            self.status = None


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02d}"


@contextmanager
def showing(output_dir: Path, bundle: Bundle) -> Iterator[None]:
    """Show a run of ``bundle`` and log what libraries say into ``output_dir``."""
    shown = Shown(Console(file=sys.stdout, highlight=False))
    trained = description(bundle.folder).get("data_source", "not said").split(";")[0]
    with listening(shown), logged(output_dir):
        own = f"its weights were trained on: {trained}" if not trained.startswith("none") else "weights as published"
        shown.say(f"{bundle.name}; {own}")
        try:
            yield
        finally:
            startup.done()
            shown.stop()
