"""Which process is writing a hidden folder, so that no other one takes it for a leftover."""

from __future__ import annotations

import hashlib
import json
import os
import socket
import time
from pathlib import Path
from typing import Any

OWNER = ".owner.json"
FOREIGN_HOST_PATIENCE = 24 * 3600.0  # seconds without a write, after which a process of another machine counts as gone


def process_mark() -> str:
    """This process in a few letters for the names of files: a digest of the machine, its number and when it started."""
    return f"{_host_mark()}-{os.getpid():x}-{int(_start_time(os.getpid()) or 0):x}"


def is_running(mark: str) -> bool:
    """Whether the process with this mark is still there; those of other machines count as such."""
    host, pid, start = mark.split("-")
    return host != _host_mark() or (_exists(int(pid, 16)) and int(_start_time(int(pid, 16)) or 0) == int(start, 16))


def _host_mark() -> str:
    return hashlib.sha256(socket.gethostname().encode()).hexdigest()[:4]


def sign(folder: Path, token: str) -> None:
    """Write into ``folder`` that this process is its owner; ``token`` tells its folders apart."""
    record = {"host": socket.gethostname(), "pid": os.getpid(), "start": _start_time(os.getpid()), "token": token}
    (folder / OWNER).write_text(json.dumps(record))


def read_owner(folder: Path) -> dict[str, Any] | None:
    """The record in ``folder``; None where there is none that can be read."""
    try:
        record = json.loads((folder / OWNER).read_text())
    except (OSError, ValueError):
        return None
    return record if isinstance(record, dict) else None


def is_owned(folder: Path) -> bool:
    """Whether a process that is still running owns ``folder``; a folder without a record belongs to none."""
    record = read_owner(folder)
    if record is None:
        return False
    if record.get("host") != socket.gethostname():
        return time.time() - _last_write(folder) < FOREIGN_HOST_PATIENCE
    pid = record.get("pid")
    return isinstance(pid, int) and _exists(pid) and _start_time(pid) == record.get("start")


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:  # another user's
        return True
    return True


def _start_time(pid: int) -> str:
    """When a process started, in the system's own count: process numbers are used again. "" where it can't be told."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""


def _last_write(folder: Path) -> float:
    times = []
    for file in (folder, *folder.rglob("*")):
        try:
            times.append(file.lstat().st_mtime)
        except OSError:
            continue
    return max(times, default=0.0)
