"""What a registration in a notebook shows while it works: stage and seconds, in one line that goes at the end."""

from __future__ import annotations

import html
import sys
from time import perf_counter
from typing import Any

from custom_components.common.console import Listener


def in_notebook() -> bool:
    """Whether a notebook's kernel runs this process."""
    shell: Any = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return type(shell).__name__ == "ZMQInteractiveShell"


class NotebookProgress(Listener):
    """A bar below the cell, updated in place; what a run says otherwise stays out of the notebook."""

    def __init__(self) -> None:
        from IPython.display import HTML, display

        self.html: Any = HTML
        self.start, self.count, self.number, self.name = perf_counter(), 1, 1, ""
        self.handle: Any = display(self._line("starting"), display_id=True)

    def _line(self, text: str) -> Any:
        value = f' value="{self.number - 1}" max="{self.count}"' if self.count > 1 else ""
        seconds = f"{perf_counter() - self.start:.0f} s"
        told = html.escape(f"{self.name} {text}".strip())
        return self.html(f"<div><progress{value}></progress> {told}, {seconds}</div>")

    def say(self, text: str) -> None:
        """Nothing: the result holds it."""

    def pair(self, number: int, count: int, name: str) -> None:
        """A pair begins."""
        self.number, self.count, self.name = number, count, name
        self.stage("reading")

    def stage(self, name: str) -> None:
        """A stage begins."""
        self.handle.update(self._line(name))

    def stop(self) -> None:
        """The bar goes."""
        self.handle.update(self.html(""))
