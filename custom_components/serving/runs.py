"""The queue of registrations: one runs, the others wait in the order in which they came."""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Protocol

from custom_components.common.errors import InputError
from custom_components.serving.outcomes import (
    CONFLICT,
    CRASHED,
    FULL,
    UNWRITABLE,
    Cancelled,
    Outcome,
    QueueFull,
    RunError,
)
from custom_components.serving.tickets import OPEN, State, Ticket, TicketStore

ENDING = "the server is ending; ask again"
INTERRUPTED = "the server ended while this was running; ask again"
CANCELLED = "cancelled"
LONGEST_RETRY = 600  # seconds
logger = logging.getLogger(__name__)


class Worker(Protocol):
    """What does the work, see ``WorkerProcess``."""

    def run(self, job: dict[str, Any], cancelled: Callable[[], bool]) -> dict[str, Any]:
        """The result of a job.

        Raises:
            RunError: there is none.
            Cancelled: ``cancelled`` became true.
        """

    def close(self) -> None:
        """End."""


Deliver = Callable[[dict[str, Any], dict[str, Any]], str | None]  # (job, result) -> a file for the client that waits


@dataclass
class _Waiter:
    ticket: Ticket
    future: Future[Outcome] = field(default_factory=Future)
    deliver: Deliver | None = None


@dataclass
class _Run:
    key: str
    waiters: list[_Waiter]


class RegistrationQueue:
    """Runs jobs one at a time in a thread of its own; requests with the same key share one run.

    Of what waits only its ticket is in memory, the job itself is a file.

    Args:
        worker: does the work.
        store: of the tickets; those of an earlier server are taken over: what waited then waits again, in its order,
            what was running is "interrupted", since it may have been what ended the server.
        max_waiting: requests that may wait, besides the one that runs.
    """

    def __init__(self, worker: Worker, store: TicketStore, max_waiting: int = 32) -> None:
        self._worker = worker
        self._store = store
        self._max_waiting = max_waiting
        self._changed = threading.Condition(threading.RLock())
        self._waiting: OrderedDict[str, _Run] = OrderedDict()
        self._current: _Run | None = None
        self._tickets: OrderedDict[str, Ticket] = OrderedDict()
        self._closed = False
        self._usual = 10.0  # seconds of a run, of the last ones mostly
        self._take_over()
        self._thread = threading.Thread(target=self._work, name="registrations", daemon=True)
        self._thread.start()

    def submit(
        self, ticket: Ticket, job: dict[str, Any], deliver: Deliver | None = None
    ) -> tuple[Ticket, Future[Outcome]]:
        """Queue a job, or join the run of one with the ticket's key that waits or runs already.

        Args:
            ticket: a new one.
            job: what the worker is given.
            deliver: called when the run is done and before the next one starts.

        Returns:
            The ticket, and what will come of it.

        Raises:
            QueueFull: too many wait.
            InputError: the ticket can't be written.
        """
        waiter = _Waiter(ticket, deliver=deliver)
        with self._changed:
            if self._closed or self._open() > self._max_waiting:  # one of them runs
                raise QueueFull(self.waiting(), self._retry_after())
            run = self._find(ticket.key)
            if run is None:
                self._store.write_job(ticket.key, job)
                run = _Run(ticket.key, [])
            elif run is self._current:
                ticket.state, ticket.started = "running", time.time()
            try:
                self._store.write(ticket)
            except InputError:
                if not run.waiters:
                    self._store.forget_job(ticket.key)
                raise
            run.waiters.append(waiter)
            if run is not self._current:
                self._waiting.setdefault(ticket.key, run)
            self._tickets[ticket.id] = ticket
            self._changed.notify_all()
        return ticket, waiter.future

    def waiting(self) -> int:
        """Requests that wait: all that are open but one."""
        with self._changed:
            return max(0, self._open() - 1)

    def get(self, identifier: str) -> Ticket | None:
        """A ticket by its id."""
        with self._changed:
            return self._tickets.get(identifier)

    def tickets(self) -> list[Ticket]:
        """All that have a file, oldest first."""
        with self._changed:
            return [ticket for ticket in self._tickets.values() if ticket.kept]

    def place(self, ticket: Ticket) -> int | None:
        """How many runs come before a ticket's, its own counted: 1 is the next one. None where it does not wait."""
        with self._changed:
            if ticket.state != "queued" or ticket.key not in self._waiting:
                return None
            return list(self._waiting).index(ticket.key) + 1

    def result(self, ticket: Ticket) -> dict[str, Any] | None:
        """What came of a ticket that is done."""
        return self._store.result(ticket) if ticket.state == "done" else None

    def cancel(self, identifier: str) -> bool:
        """Take a ticket back; its run ends if it is nobody else's. False where it has ended already."""
        with self._changed:
            for run in (self._current, *self._waiting.values()):
                for waiter in run.waiters if run is not None else ():
                    if waiter.ticket.id == identifier:
                        assert run is not None
                        run.waiters.remove(waiter)
                        if not run.waiters and run is not self._current:
                            self._drop(run.key)
                        self._end(waiter, "cancelled", Outcome(status=CONFLICT, detail=CANCELLED))
                        return True
        return False

    def close(self) -> None:
        """End the worker and answer all who wait; tickets stay as they are, for the next server."""
        with self._changed:
            self._closed = True
            for run in self._waiting.values():
                _answer(run.waiters, Outcome(status=FULL, detail=ENDING))
            self._changed.notify_all()
        self._worker.close()
        self._thread.join(10)

    def _open(self) -> int:
        running = len(self._current.waiters) if self._current is not None else 0
        return running + sum(len(run.waiters) for run in self._waiting.values())

    def _find(self, key: str) -> _Run | None:
        """The run that a request with this key can share: one that is being cancelled is none."""
        if self._current is not None and self._current.key == key and self._current.waiters:
            return self._current
        return self._waiting.get(key)

    def _drop(self, key: str) -> None:
        self._waiting.pop(key, None)
        if self._current is None or self._current.key != key:
            self._store.forget_job(key)

    def _take_over(self) -> None:
        for ticket in self._store.load():
            self._tickets[ticket.id] = ticket
            if ticket.state == "running":
                self._close_ticket(ticket, "interrupted", Outcome(status=CRASHED, detail=INTERRUPTED))
            elif ticket.state == "queued":
                self._waiting.setdefault(ticket.key, _Run(ticket.key, [])).waiters.append(_Waiter(ticket))
        self._forget_old()

    def _work(self) -> None:
        while True:
            with self._changed:
                while not self._waiting and not self._closed:
                    self._changed.wait()
                if self._closed:
                    return
                _, run = self._waiting.popitem(last=False)
                self._current = run
                for waiter in run.waiters:
                    waiter.ticket.state, waiter.ticket.started = "running", time.time()
                    with suppress(InputError):  # a full disk; the run itself says so
                        self._store.write(waiter.ticket)
            self._finish(run, *self._outcome(run))

    def _outcome(self, run: _Run) -> tuple[dict[str, Any], Outcome]:
        """(the job, what came of it)."""
        start = time.monotonic()
        job: dict[str, Any] = {}
        try:
            job = self._store.read_job(run.key)
            answer = self._worker.run(job, lambda: self._closed or not run.waiters)
            self._usual += 0.3 * (time.monotonic() - start - self._usual)
            return job, Outcome(result=answer)
        except Cancelled:
            return job, Outcome(status=CONFLICT, detail=CANCELLED)
        except RunError as error:
            return job, Outcome(status=error.status, detail=str(error))
        except (OSError, ValueError):
            return job, Outcome(status=CRASHED, detail="what was to be registered could not be read; ask again")
        except Exception:  # whatever it is, the queue must go on
            logger.exception("a registration ended in a way that was not foreseen")
            return job, Outcome(status=CRASHED, detail="the registration failed in the server; see its log")

    def _finish(self, run: _Run, job: dict[str, Any], outcome: Outcome) -> None:
        with self._changed:
            if self._closed:  # tickets stay "running", which the next server calls interrupted
                _answer(run.waiters, Outcome(status=FULL, detail=ENDING))
                return
            for waiter in run.waiters:
                own = outcome
                if outcome.result is not None and waiter.deliver is not None:
                    try:
                        own = Outcome(outcome.result, file=waiter.deliver(job, outcome.result))
                    except OSError as error:
                        own = Outcome(
                            status=UNWRITABLE, detail=f"the results folder can't be written ({error.strerror})"
                        )
                self._end(waiter, "failed" if own.result is None else "done", own)
            self._current = None
            if run.key not in self._waiting:
                self._store.forget_job(run.key)

    def _end(self, waiter: _Waiter, state: State, outcome: Outcome) -> None:
        self._close_ticket(waiter.ticket, state, outcome)
        if not waiter.ticket.kept:
            self._tickets.pop(waiter.ticket.id, None)
        self._forget_old()
        _answer([waiter], outcome)

    def _close_ticket(self, ticket: Ticket, state: State, outcome: Outcome) -> None:
        ticket.state, ticket.ended, ticket.detail = state, time.time(), outcome.detail
        ticket.status = outcome.status if state == "failed" else 0
        with suppress(InputError):  # a full disk; whoever asks is told from memory
            self._store.write(ticket, outcome.result)

    def _forget_old(self) -> None:
        ended = [ticket for ticket in self._tickets.values() if ticket.state not in OPEN]
        for ticket in ended[: max(0, len(ended) - self._store.keep)]:
            del self._tickets[ticket.id]
            self._store.delete(ticket)

    def _retry_after(self) -> int:
        """Seconds until about half of what waits is done."""
        return min(LONGEST_RETRY, max(1, round(self._usual * len(self._waiting) / 2)))


def _answer(waiters: Iterable[_Waiter], outcome: Outcome) -> None:
    for waiter in waiters:
        if not waiter.future.done():
            waiter.future.set_result(outcome)
