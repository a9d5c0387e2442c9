"""Registrations of a real server: waiting ones hold nothing up, and each can be looked at, cancelled and limited."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

import pytest
import requests

MODEL = "hybrid_matching"
pytestmark = pytest.mark.slow


def worker_of(server) -> int:
    """Process that does the registrations."""
    pid = server.process.pid
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    all_children = {child for task in Path(f"/proc/{pid}/task").iterdir()
                    for child in (task / "children").read_text().split()} | set(children)  # fmt: skip
    found = [int(child) for child in all_children if b"child.py" in Path(f"/proc/{child}/cmdline").read_bytes()]
    assert len(found) == 1
    return found[0]


def runs(pid: int) -> bool:
    """Whether a process does, one that nobody has asked for its end aside."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def test_tickets_are_shared_counted_cancelled_and_give_the_result_of_infer(start, small):
    with start(small) as server:
        first = server.ask(working_size=256)
        assert first.status_code == 202
        told = first.json()
        assert first.headers["Location"] == told["url"] == f"/registrations/tickets/{told['ticket']}"
        same, other = server.ask(working_size=256).json(), server.ask(margin=8).json()
        last = server.ask(margin=16).json()
        assert same["ticket"] != told["ticket"]
        place = server.call("GET", last["url"]).json()["place"]
        assert server.call("DELETE", other["url"]).json()["state"] == "cancelled"
        assert server.call("GET", last["url"]).json()["place"] in (None, 1, place - 1)
        assert server.call("DELETE", other["url"]).status_code == 409
        done = [server.ended(ticket["ticket"]) for ticket in (told, same, last)]
        assert [ticket["state"] for ticket in done] == ["done"] * 3
        assert done[0]["started"] == done[1]["started"]  # one run
        assert done[0]["latencies"] == done[1]["latencies"] != done[2]["latencies"]
        params = '{"fixed": "fixed", "working_size": 256, "report": false}'
        infer = server.call("POST", f"/infer/{MODEL}?image=moving&output=json", data={"params": params}).json()
        for name in ("status", "matches", "affine", "files"):
            assert infer["result"][name] == done[0]["result"][name]
        listed = server.call("GET", "/registrations/tickets").json()
        assert [ticket["ticket"] for ticket in listed["tickets"]] == [
            ticket["ticket"] for ticket in (last, other, same, told)
        ]  # what waited for its answer has none
        assert not list((small / "registrations" / ".tickets").glob("*.job"))


def test_waiting_registrations_hold_nothing_up_and_too_many_are_refused(start, small):
    with start(small, {"max_waiting": 50}) as server:
        sessions = [requests.Session() for _ in range(50)]

        def wait(session: requests.Session, number: int) -> None:
            params = f'{{"fixed": "fixed", "working_size": 1024, "margin": {number}}}'
            address = f"{server.address}/infer/{MODEL}?image=moving&output=json"
            try:
                session.post(address, data={"params": params}, timeout=6)
            except requests.RequestException:
                pass

        clients = [threading.Thread(target=wait, args=each) for each in zip(sessions, range(50), strict=True)]
        for client in clients:
            client.start()
        time.sleep(3)
        longest, codes = 0.0, []
        for path in ("/info/", "/datastore/", "/datastore/images", "/registrations/tickets"):
            begun = time.monotonic()
            codes.append(server.call("GET", path).status_code)
            longest = max(longest, time.monotonic() - begun)
        assert codes == [200] * 4
        assert longest < 2
        codes = [server.ask(margin=number).status_code for number in range(60, 64)]
        assert 503 in codes
        refused = server.ask(margin=64)
        assert (refused.status_code, refused.headers["Retry-After"].isdecimal()) == (503, True)
        for client in clients:
            client.join()
        time.sleep(3)  # those who went away wait no more
        assert server.ask(margin=65).status_code == 202


def test_a_time_limit_and_a_crash_end_one_registration_only(start, small):
    with start(small, {"time_limit": 1}) as server:
        time.sleep(8)  # the process has loaded what it needs
        late = server.ended(server.ask(working_size=2048).json()["ticket"])
        assert (late["state"], late["status"]) == ("failed", 504)
        assert "longer than 1 s" in late["detail"]
    with start(small) as server:
        os.kill(worker_of(server), signal.SIGKILL)  # while it has nothing to do, which costs nobody anything
        assert server.ended(server.ask().json()["ticket"])["state"] == "done"
        ticket = server.ask(working_size=1024).json()
        while server.call("GET", ticket["url"]).json()["state"] != "running":
            time.sleep(0.1)
        time.sleep(1)
        os.kill(worker_of(server), signal.SIGKILL)
        crashed = server.ended(ticket["ticket"])
        assert (crashed["state"], crashed["status"]) == ("failed", 500)
        assert "SIGKILL" in crashed["detail"]
        assert server.ended(server.ask().json()["ticket"])["state"] == "done"
        running = server.ask(working_size=1024, margin=3).json()
        while server.call("GET", running["url"]).json()["state"] != "running":
            time.sleep(0.1)
        assert server.call("DELETE", running["url"]).json()["state"] == "cancelled"
        assert server.ended(server.ask(margin=4).json()["ticket"])["state"] == "done"


def test_a_server_that_was_killed_and_starts_again_knows_its_tickets(start, small):
    with start(small) as server:
        done = server.ended(server.ask().json()["ticket"])
        running, queued = server.ask(working_size=1024).json(), server.ask(margin=9).json()
        while server.call("GET", running["url"]).json()["state"] != "running":
            time.sleep(0.1)
        child = worker_of(server)
        server.process.kill()
        server.process.wait()
    time.sleep(2)
    assert not runs(child)
    with start(small) as server:
        assert server.call("GET", done["url"]).json()["result"]["status"] == done["result"]["status"]
        assert server.call("GET", running["url"]).json()["state"] == "interrupted"
        assert server.ended(queued["ticket"])["state"] == "done"


def test_a_signal_ends_the_server_though_many_wait(start, small):
    with start(small) as server:
        address = f"{server.address}/infer/{MODEL}?image=moving&output=json"
        codes = []

        def wait(number: int) -> None:
            params = f'{{"fixed": "fixed", "working_size": 1024, "margin": {number}}}'
            codes.append(requests.post(address, data={"params": params}, timeout=60).status_code)

        clients = [threading.Thread(target=wait, args=(number,)) for number in range(5)]
        for client in clients:
            client.start()
        time.sleep(2)
        server.process.send_signal(signal.SIGTERM)
        server.process.wait(20)
        for client in clients:
            client.join()
    assert codes == [503] * 5
