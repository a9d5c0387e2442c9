"""The process of registrations: it survives errors, is replaced when it crashes, and ends on a limit or a cancel."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from custom_components.serving.outcomes import Cancelled, RunError
from custom_components.serving.worker import WorkerProcess

HERE = str(Path(__file__).parent)


@pytest.fixture
def worker(monkeypatch) -> Iterator[WorkerProcess]:
    monkeypatch.setattr(sys, "path", [HERE])  # the child finds worker_jobs there
    process = WorkerProcess("worker_jobs:run", time_limit=30, jobs_each=3)
    yield process
    process.close()


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def gone(pid: int) -> bool:
    """Whether it ends within a second."""
    for _ in range(100):
        if not alive(pid):
            return True
        time.sleep(0.01)
    return False


def test_the_process_stays_for_some_jobs_and_is_then_replaced(worker):
    pids = [worker.run({"do": "echo", "text": "é\n"})["pid"] for _ in range(4)]
    assert pids[0] == pids[1] == pids[2] != pids[3]
    assert pids[0] != os.getpid()
    assert gone(pids[0])


def test_what_is_meant_for_a_client_is_told_and_nothing_else(worker):
    with pytest.raises(RunError, match=r"^fixed: is wrong$") as told:
        worker.run({"do": "told"})
    assert told.value.status == 422
    for kind in ("internal", "exit"):
        with pytest.raises(RunError, match=r"^an internal error; the server's log has it$") as hidden:
            worker.run({"do": kind})
        assert hidden.value.status == 500
    assert worker.run({"do": "echo", "text": 1})["echo"] == 1


def test_a_crash_of_native_code_ends_one_job_only(worker):
    with pytest.raises(RunError, match="SIGABRT") as crashed:
        worker.run({"do": "abort"})
    assert crashed.value.status == 500
    assert worker.run({"do": "echo", "text": 2})["echo"] == 2


def test_a_time_limit_ends_the_process(worker):
    pid = worker.run({"do": "echo"})["pid"]
    worker.time_limit = 0.3
    start = time.monotonic()
    with pytest.raises(RunError, match=r"longer than 0\.3 s") as late:
        worker.run({"do": "sleep", "seconds": 600})
    assert late.value.status == 504
    assert time.monotonic() - start < 10
    assert gone(pid)
    worker.time_limit = 30
    assert worker.run({"do": "echo", "text": 3})["echo"] == 3


def test_a_cancel_ends_the_process_and_what_it_started(worker, tmp_path):
    file = tmp_path / "pid"
    with pytest.raises(Cancelled):
        worker.run({"do": "grandchild", "file": str(file)}, lambda: file.exists() and file.read_text() != "")
    assert gone(int(file.read_text()))


def test_a_process_that_was_killed_while_idle_is_replaced(worker):
    worker.run({"do": "echo"})
    os.kill(worker.pid, 9)
    assert gone(worker.pid)
    assert worker.run({"do": "echo", "text": 4})["echo"] == 4


def test_the_process_ends_with_its_server(worker):
    pid = worker.run({"do": "echo"})["pid"]
    os.close(worker._lifeline)  # as the end of the server does, however it ends
    assert gone(pid)
    worker._lifeline = os.open(os.devnull, os.O_RDONLY)


def test_nothing_is_started_after_the_end(worker):
    worker.close()
    assert worker.pid is None
    with pytest.raises(RunError):
        worker.run({"do": "echo"})
    assert worker.pid is None
