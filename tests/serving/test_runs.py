"""The queue: order, sharing, cancelling, limits, and what a server that starts again makes of the tickets."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from custom_components.serving.outcomes import Cancelled, QueueFull, RunError
from custom_components.serving.runs import RegistrationQueue
from custom_components.serving.tickets import Ticket, TicketStore


class Gate:
    """A worker whose jobs end when they are let go; a name that begins with "bad" fails."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.open = threading.Semaphore(0)
        self.at_a_time = 0

    def run(self, job: dict[str, Any], cancelled: Callable[[], bool]) -> dict[str, Any]:
        self.begun.append(job["name"])
        self.at_a_time += 1
        assert self.at_a_time == 1
        try:
            while not self.open.acquire(timeout=0.005):
                if cancelled():
                    raise Cancelled
        finally:
            self.at_a_time -= 1
        if job["name"].startswith("worse"):
            raise EOFError("nothing foresaw this at /srv/somewhere")
        if job["name"].startswith("bad"):
            raise RunError("image: is wrong", 422)
        return {"result": {"id": job["name"]}}

    def close(self) -> None:
        self.open.release()


class Case:
    """A queue over a folder, with a gate."""

    def __init__(self, folder, max_waiting: int = 3, keep: int = 100) -> None:
        self.folder, self.gate = folder, Gate()
        self.store = TicketStore(folder, keep)
        self.queue = RegistrationQueue(self.gate, self.store, max_waiting)

    def submit(self, name: str, **more: Any):
        kept = more.pop("kept", True)
        return self.queue.submit(Ticket(name, "model", name, "fixed", kept=kept), {"name": name}, **more)

    def until(self, condition: Callable[[], bool]) -> None:
        end = time.monotonic() + 5
        while not condition():
            assert time.monotonic() < end
            time.sleep(0.002)


@pytest.fixture
def case(tmp_path):
    made = Case(tmp_path / "tickets")
    yield made
    made.queue.close()


def test_jobs_run_one_at_a_time_in_their_order_and_places_count_down(case):
    tickets = [case.submit(name) for name in "abc"]
    case.until(lambda: case.gate.begun == ["a"])
    assert [case.queue.place(ticket) for ticket, _ in tickets] == [None, 1, 2]
    assert [ticket.state for ticket, _ in tickets] == ["running", "queued", "queued"]
    case.gate.open.release()
    assert tickets[0][1].result(5).result == {"result": {"id": "a"}}
    case.until(lambda: case.gate.begun == ["a", "b"])
    assert case.queue.place(tickets[2][0]) == 1
    case.gate.open.release(2)
    assert tickets[2][1].result(5).result == {"result": {"id": "c"}}
    assert case.queue.result(tickets[1][0]) == {"result": {"id": "b"}}
    assert not list(case.folder.glob("*.job"))


def test_the_same_request_shares_a_run_whether_it_waits_or_runs(case):
    first = case.submit("a")
    case.until(lambda: case.gate.begun == ["a"])
    running, waiting, other = case.submit("a"), case.submit("b"), case.submit("b")
    assert running[0].state == "running"
    case.gate.open.release(2)
    assert {pair[1].result(5).result["result"]["id"] for pair in (first, running)} == {"a"}
    assert {pair[1].result(5).result["result"]["id"] for pair in (waiting, other)} == {"b"}
    assert case.gate.begun == ["a", "b"]
    assert len({pair[0].id for pair in (first, running, waiting, other)}) == 4


def test_what_nobody_foresaw_fails_that_run_and_the_queue_goes_on(case):
    (_, broken), (_, next_one) = case.submit("worse"), case.submit("b")
    case.gate.open.release(2)
    outcome = broken.result(5)
    assert outcome.result is None
    assert "/srv" not in outcome.detail
    assert next_one.result(5).result == {"result": {"id": "b"}}


def test_a_cancelled_ticket_leaves_the_queue_and_a_shared_run_goes_on(case):
    running, shared, waiting = case.submit("a"), case.submit("a"), case.submit("b")
    case.until(lambda: case.gate.begun == ["a"])
    for ticket, future in (running, waiting):
        assert case.queue.cancel(ticket.id)
        assert future.result(5).status == 409
        assert ticket.state == "cancelled"
        assert not case.queue.cancel(ticket.id)
    case.gate.open.release()
    assert shared[1].result(5).result is not None
    assert case.gate.begun == ["a"]


def test_the_run_of_nobody_ends_and_the_next_one_starts(case):
    ticket, _ = case.submit("a")
    case.submit("b")
    case.until(lambda: case.gate.begun == ["a"])
    case.queue.cancel(ticket.id)
    again = case.submit("a")  # while the first one is being ended
    case.until(lambda: case.gate.begun[:2] == ["a", "b"])
    case.gate.open.release(2)
    assert again[1].result(5).result is not None
    assert case.gate.begun == ["a", "b", "a"]


def test_too_many_are_refused_with_a_time_to_come_back(case):
    for name in "abcd":
        case.submit(name)
    with pytest.raises(QueueFull, match="3 registrations are waiting") as full:
        case.submit("e")
    assert full.value.seconds >= 1
    with pytest.raises(QueueFull):
        case.submit("b")  # one that would share a run waits too
    case.gate.open.release()
    case.until(lambda: len(case.gate.begun) == 2)
    case.submit("e")


def test_a_failed_job_says_why_and_the_next_one_runs(case):
    bad, good = case.submit("bad"), case.submit("good")
    case.gate.open.release(2)
    outcome = bad[1].result(5)
    assert (outcome.result, outcome.status, outcome.detail) == (None, 422, "image: is wrong")
    assert bad[0].described()["status"] == 422
    assert good[1].result(5).status == 200


def test_a_client_that_waits_gets_its_copy_before_the_next_run_and_no_file_is_kept_of_it(case):
    seen = []

    def deliver(job: dict[str, Any], result: dict[str, Any]) -> str:
        seen.append((job["name"], list(case.gate.begun)))
        return "copy"

    first, _ = case.submit("a", deliver=deliver, kept=False), case.submit("b")
    case.gate.open.release(2)
    assert first[1].result(5).file == "copy"
    assert seen == [("a", ["a"])]
    assert case.queue.get(first[0].id) is None
    assert not list(case.folder.glob(f"{first[0].id}*"))


def test_a_server_that_starts_again_knows_its_tickets(tmp_path):
    before = Case(tmp_path / "tickets")
    done, _ = before.submit("done")
    before.gate.open.release()
    before.until(lambda: done.state == "done")
    running, queued, waits = before.submit("a")[0], before.submit("b")[0], before.submit("c", kept=False)[0]
    before.until(lambda: before.gate.begun[-1] == "a")
    before.queue._closed = True  # killed: nothing is tidied up
    after = Case(tmp_path / "tickets")
    assert after.queue.get(running.id).state == "interrupted"
    assert "ask again" in after.queue.get(running.id).detail
    assert after.queue.result(after.queue.get(done.id)) == {"result": {"id": "done"}}
    assert after.queue.get(waits.id) is None
    after.gate.open.release()
    after.until(lambda: after.queue.get(queued.id).state == "done")
    assert after.gate.begun == ["b"]
    after.queue.close()


def test_closing_leaves_what_ran_to_be_called_interrupted(tmp_path):
    before = Case(tmp_path / "tickets")
    (ticket, future), (waits, later) = before.submit("a"), before.submit("b")
    before.until(lambda: before.gate.begun == ["a"])
    before.queue.close()
    before.queue.close()
    assert future.result(5).status == later.result(5).status == 503  # nobody who waits is left without an answer
    after = Case(tmp_path / "tickets")
    assert after.queue.get(ticket.id).state == "interrupted"
    after.until(lambda: after.gate.begun == ["b"])
    assert after.queue.get(waits.id).state == "running"
    after.queue.close()


def test_a_queued_ticket_whose_job_is_lost_fails(tmp_path):
    TicketStore(tmp_path).write(ticket := Ticket("k", "model", "a", "fixed"))
    after = Case(tmp_path)
    after.until(lambda: after.queue.get(ticket.id).state == "failed")
    assert "ask again" in after.queue.get(ticket.id).detail
    after.queue.close()


def test_of_many_requests_only_as_many_tickets_stay_as_are_kept(tmp_path):
    case = Case(tmp_path, max_waiting=100, keep=20)
    case.gate.open.release(1000)
    last = [case.submit(f"n{k}") for k in range(100)][-1]
    last[1].result(60)
    assert len(case.queue.tickets()) == 20
    assert len(list(tmp_path.glob("*.json"))) == len(list(tmp_path.glob("*.result"))) == 20
    assert not list(tmp_path.glob("*.job"))
    case.queue.close()
