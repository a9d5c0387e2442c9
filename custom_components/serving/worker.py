"""A process that does the registrations: it can be ended, and a crash of native code ends only it.

It stays for many jobs, since loading torch and MONAI takes some seconds, and is replaced by a new one after some, so
that no memory is lost for good.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Pipe
from pathlib import Path
from typing import Any

from custom_components.serving.outcomes import CRASHED, TIMED_OUT, Cancelled, RunError

CHILD = Path(__file__).with_name("child.py")
START = 300.0  # seconds for it to load what it needs
GLANCE = 0.2  # seconds between two looks whether a job was cancelled
logger = logging.getLogger(__name__)


class WorkerProcess:
    """Runs jobs in a process of its own, one at a time.

    Args:
        target: "module:function" that takes a job and returns a result, both of JSON. An exception with a whole number
            ``status`` is told to the client, any other one is written to the log.
        time_limit: seconds of a job.
        jobs_each: jobs after which the process is replaced.
    """

    def __init__(self, target: str, time_limit: float = 3600.0, jobs_each: int = 50) -> None:
        self.target = target
        self.time_limit = time_limit
        self.jobs_each = jobs_each
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()
        self._jobs = 0
        self._ready = False
        self._closed = False
        self._start()

    @property
    def pid(self) -> int | None:
        """Of the process, None where there is none."""
        return None if self._process is None else self._process.pid

    def run(self, job: dict[str, Any], cancelled: Callable[[], bool] = lambda: False) -> dict[str, Any]:
        """The result of a job.

        Raises:
            RunError: the job failed, took too long or ended its process.
            Cancelled: ``cancelled`` became true; the process was ended.
        """
        try:
            try:
                self._hand_over(job, cancelled)
            except (EOFError, OSError):  # it ended while it had nothing to do; the job is not what ended it
                self._replace()
                self._hand_over(job, cancelled)
            answer = self._receive(self.time_limit, cancelled, "for a registration, the server's time_limit")
        except (EOFError, OSError):
            code = self._exit_code()
            logger.error("the process of registrations ended with %s", code)
            self._replace()
            raise RunError(f"the process that registers this pair crashed ({_named(code)})", CRASHED) from None
        except (Cancelled, RunError):
            self._replace()
            raise
        self._jobs += 1
        if self._jobs >= self.jobs_each:
            self._replace()
        if "error" in answer:
            raise RunError(answer["error"] or "an internal error; the server's log has it", answer["status"])
        result: dict[str, Any] = answer["result"]
        return result

    def close(self) -> None:
        """End the process; no other one is started."""
        with self._lock:
            self._closed = True
            self._end()

    def _hand_over(self, job: dict[str, Any], cancelled: Callable[[], bool]) -> None:
        """Give the process a job, once it has loaded what it needs, and wait until it says that it has it."""
        if not self._ready:
            self._receive(START, cancelled, "to start")
            self._ready = True
        self._channel.send_bytes(json.dumps(job).encode())
        self._receive(START, cancelled, "to take a registration")

    def _exit_code(self) -> int | None:
        process = self._process
        if process is None:
            return None
        try:
            return process.wait(5)
        except subprocess.TimeoutExpired:  # it closed the channel, but is still there
            return None

    def _receive(self, limit: float, cancelled: Callable[[], bool], what: str) -> dict[str, Any]:
        end = time.monotonic() + limit
        while not self._channel.poll(min(GLANCE, max(0.0, end - time.monotonic()))):
            if cancelled():
                raise Cancelled
            if time.monotonic() >= end:
                raise RunError(f"took longer than {limit:g} s {what}, and was ended", TIMED_OUT)
        answer: dict[str, Any] = json.loads(self._channel.recv_bytes())
        return answer

    def _replace(self) -> None:
        with self._lock:
            self._end()
            if not self._closed:
                self._start()

    def _start(self) -> None:
        self._channel, theirs = Pipe()
        lifeline, self._lifeline = os.pipe()
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        command = [sys.executable, "-P", str(CHILD), self.target, str(theirs.fileno()), str(lifeline)]
        self._process = subprocess.Popen(
            command, env=environment, stdin=subprocess.DEVNULL, pass_fds=(theirs.fileno(), lifeline),
            start_new_session=True,
        )  # fmt: skip
        theirs.close()
        os.close(lifeline)
        self._jobs, self._ready = 0, False

    def _end(self) -> None:
        if self._process is None:
            return
        with suppress(ProcessLookupError):  # its whole group: what it started goes with it
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._channel.close()
        os.close(self._lifeline)
        self._process = None


def _named(code: int | None) -> str:
    if code is None:
        return "no exit code"
    if code >= 0:
        return f"exit code {code}"
    with suppress(ValueError):
        return signal.Signals(-code).name
    return f"signal {-code}"
