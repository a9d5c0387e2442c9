"""The process that ``WorkerProcess`` starts; it is run as a file, so that it loads nothing but what it is told to.

    python child.py MODULE:FUNCTION CHANNEL LIFELINE

The channel carries jobs and answers as JSON. When the lifeline closes, its server is gone and everything here ends.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any


def main() -> None:
    """Take jobs until the channel closes."""
    target, channel, lifeline = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    threading.Thread(target=_end_with_server, args=(lifeline,), daemon=True).start()
    module, _, name = target.partition(":")
    function = getattr(importlib.import_module(module), name)
    connection = Connection(channel)
    connection.send_bytes(b"{}")
    while True:
        try:
            job = json.loads(connection.recv_bytes())
        except EOFError:
            return
        connection.send_bytes(b"{}")  # it has come
        connection.send_bytes(json.dumps(_answer(function, job)).encode())


def _answer(function: Callable[[dict[str, Any]], dict[str, Any]], job: dict[str, Any]) -> dict[str, Any]:
    try:
        return {"result": function(job)}
    except MemoryError:
        traceback.print_exc()
        return {"error": "there was not enough memory for this pair", "status": 507}
    except (Exception, SystemExit) as error:
        status = getattr(error, "status", None)
        if isinstance(status, int):  # it was meant for a client
            return {"error": str(error), "status": status}
        traceback.print_exc()  # into the server's log
        return {"error": "", "status": 500}


def _end_with_server(lifeline: int) -> None:
    while os.read(lifeline, 1):
        pass
    os.killpg(os.getpgid(0), signal.SIGKILL)  # what it started itself too


if __name__ == "__main__":
    main()
