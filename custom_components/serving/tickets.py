"""Tickets of registrations as small files, so that a server that starts again knows them."""

from __future__ import annotations

import fcntl
import json
import re
import time
import uuid
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from custom_components.common.errors import InputError
from custom_components.pairs.atomic import atomic_path

State = Literal["queued", "running", "done", "failed", "cancelled", "interrupted"]
OPEN = ("queued", "running")
NAME = re.compile(r"[0-9a-f]{32}")


@dataclass
class Ticket:
    """One client's wish for one registration.

    Attributes:
        key: of what is to be done; tickets of one key share a run.
        model: of the registration.
        image: id of the moving image.
        fixed: id of the fixed image.
        owner: name of the user, where the server knows users.
        kept: it has a file; a client that waits for its answer needs none.
        state: see docs/serving.md.
        detail: why it failed, was cancelled or interrupted.
        status: of HTTP, for a failed one.
        created: seconds since 1970, as ``started`` and ``ended``.
    """

    key: str
    model: str
    image: str
    fixed: str
    owner: str = ""
    kept: bool = True
    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    state: State = "queued"
    detail: str = ""
    status: int = 0
    created: float = field(default_factory=time.time)
    started: float | None = None
    ended: float | None = None

    def described(self) -> dict[str, Any]:
        """What a client is told, times as ISO 8601 in UTC."""
        told: dict[str, Any] = {"ticket": self.id, "state": self.state, "model": self.model, "image": self.image}
        told |= {"fixed": self.fixed, "detail": self.detail} | ({"status": self.status} if self.status else {})
        for name in ("created", "started", "ended"):
            seconds = getattr(self, name)
            told[name] = None if seconds is None else datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
        return told


class TicketStore:
    """Files ``<id>.json`` of tickets, ``<key>.job`` of what open ones are to do, ``<id>.result`` of what came of them.

    Args:
        folder: made if absent.
        keep: ended tickets beyond this number are deleted, the oldest first.
    """

    def __init__(self, folder: Path, keep: int = 500) -> None:
        self.folder = folder
        self.keep = keep
        folder.mkdir(parents=True, exist_ok=True)

    def claim(self) -> None:
        """Keep other servers off the folder as long as this process lives.

        Raises:
            InputError: one is there already.
        """
        self._lock = (self.folder / "lock").open("w")  # closed with the process
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise InputError(
                f"results: another server uses {self.folder.parent}; end it, start one with a single process, or give "
                "this one another folder"
            ) from error

    def write_job(self, key: str, job: dict[str, Any]) -> None:
        """Keep what a run is to do; it may be large, so nothing of it stays in memory.

        Raises:
            InputError: the folder can't be written.
        """
        self._write(self.folder / f"{key}.job", job)

    def read_job(self, key: str) -> dict[str, Any]:
        """What ``write_job`` kept.

        Raises:
            OSError, ValueError: it is not there or damaged.
        """
        job: dict[str, Any] = json.loads((self.folder / f"{key}.job").read_text(encoding="utf-8"))
        return job

    def forget_job(self, key: str) -> None:
        """Delete what a run was to do."""
        (self.folder / f"{key}.job").unlink(missing_ok=True)

    def write(self, ticket: Ticket, result: dict[str, Any] | None = None) -> None:
        """Keep a ticket, if it is one to keep, and what came of it.

        Raises:
            InputError: the folder can't be written.
        """
        if not ticket.kept:
            return
        if result is not None:
            self._write(self.folder / f"{ticket.id}.result", result)
        self._write(self.folder / f"{ticket.id}.json", asdict(ticket))

    def result(self, ticket: Ticket) -> dict[str, Any] | None:
        """What came of a ticket, None where nothing did."""
        with suppress(OSError, ValueError):
            found: dict[str, Any] = json.loads((self.folder / f"{ticket.id}.result").read_text(encoding="utf-8"))
            return found
        return None

    def delete(self, ticket: Ticket) -> None:
        """Forget a ticket that has ended."""
        for suffix in (".json", ".result"):
            (self.folder / f"{ticket.id}{suffix}").unlink(missing_ok=True)

    def load(self) -> list[Ticket]:
        """All tickets, oldest first; a damaged file is one less. What belongs to none is deleted."""
        found = []
        for file in self.folder.glob("*.json"):
            with suppress(OSError, ValueError, TypeError):
                ticket = Ticket(**json.loads(file.read_text(encoding="utf-8")))
                if NAME.fullmatch(ticket.id) and file.stem == ticket.id:
                    found.append(ticket)
        keys, names = {ticket.key for ticket in found if ticket.state in OPEN}, {ticket.id for ticket in found}
        for file in self.folder.iterdir():
            known = keys if file.suffix == ".job" else names if file.suffix == ".result" else {file.stem}
            if file.stem not in known or file.name.startswith("."):  # the latter of a write that was killed
                file.unlink(missing_ok=True)
        return sorted(found, key=lambda ticket: (ticket.created, ticket.id))

    def _write(self, file: Path, data: dict[str, Any]) -> None:
        with atomic_path(file) as partial:
            partial.write_text(json.dumps(data), encoding="utf-8")
