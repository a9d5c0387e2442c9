"""What came of a run: a result, or an error with the status that a client is answered."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

CONFLICT, TOO_LONG, CRASHED, FULL, TIMED_OUT, UNWRITABLE = 409, 413, 500, 503, 504, 507


@dataclass(frozen=True)
class Outcome:
    """Of one run, for one ticket.

    Attributes:
        result: what the run gave, None where it failed.
        status: of HTTP.
        detail: why it failed.
        file: a copy of the warped image for one client that waits for it.
    """

    result: dict[str, Any] | None = None
    status: int = 200
    detail: str = ""
    file: str | None = None


class RunError(Exception):
    """A run gave no result.

    Attributes:
        status: of HTTP.
    """

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class Cancelled(Exception):
    """Nobody waits for the run any more."""


class QueueFull(Exception):
    """As many requests wait as may.

    Attributes:
        seconds: after which it is worth to ask again.
    """

    def __init__(self, waiting: int, seconds: int) -> None:
        super().__init__(f"{waiting} registrations are waiting, which is all that may; ask again in {seconds} s")
        self.seconds = seconds
