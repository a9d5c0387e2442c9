"""Jobs of the tests of WorkerProcess; they load nothing, so that a process starts at once."""

from __future__ import annotations

import os
import subprocess
import time


class Told(Exception):
    """An error for a client."""

    status = 422


def run(job: dict) -> dict:
    kind = job["do"]
    if kind == "told":
        raise Told("fixed: is wrong")
    if kind == "internal":
        raise KeyError("/srv/secret/file.png")
    if kind == "exit":
        raise SystemExit("stopped")
    if kind == "abort":
        os.abort()
    if kind == "sleep":
        time.sleep(job["seconds"])
    if kind == "grandchild":
        grandchild = subprocess.Popen(["sleep", "600"])
        with open(job["file"], "w") as file:
            file.write(str(grandchild.pid))
        time.sleep(600)
    return {"pid": os.getpid(), "echo": job.get("text")}
