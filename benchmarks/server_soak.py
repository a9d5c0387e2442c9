"""A server of MONAI Label with the app under many requests of all kinds, wrong ones too, on this machine.

    make label
    python -m benchmarks.server_soak --count 500 --clients 12

starts a server over small images on 127.0.0.1, sends it what ``PLAN`` names in a random order, and prints what was
answered, how long a GET took while registrations waited, and the memory before and after.
"""

from __future__ import annotations

import json
import os
import random
import re
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import fire
import numpy as np
import requests
from skimage import data, transform

from custom_components.pairs import write_image

ROOT = Path(__file__).resolve().parents[1]
MODEL = "hybrid_matching"
SIDE = 192  # pixels of the images
TIMEOUT = 300.0  # seconds of a request
# kinds of requests and how many of a hundred; the rest is wrong in one way or another
PLAN = {"info": 16, "listing": 14, "look at a ticket": 14, "file of a result": 8, "ask for a ticket": 14, "infer": 6,
        "cancel": 6}  # fmt: skip
DEEP = '{"a":' + "[" * 50_000
FORM = f"/infer/{MODEL}?image=moving&output=json"
# what a client may get wrong: (method, path, what is sent)
WRONG: list[tuple[str, str, dict[str, Any]]] = [
    ("POST", FORM, {"data": {"params": DEEP}}),
    ("POST", FORM, {"data": {"params": '{"fixed": "\\ud800"}'}}),
    ("POST", FORM, {"data": {"params": '{"fixed": "nobody"}'}}),
    ("POST", FORM, {"data": {"params": '{"fixed": "fixed", "working_size": "$1"}'}}),
    ("POST", "/registrations", {"data": DEEP}),
    ("POST", "/registrations", {"json": {"model": MODEL, "image": "x" * 10_000, "params": {"fixed": "fixed"}}}),
    ("POST", "/registrations", {"json": {"model": MODEL, "image": "broken", "params": {"fixed": "moving", "a": 1}}}),
    ("GET", "/registrations/..%2f..%2fetc%2fpasswd", {}),
    ("GET", "/registrations/tickets/" + "0" * 5000, {}),
    ("PUT", "/datastore/image?image=" + "x" * 500, {"files": {"file": ("x.png", b"1")}}),
    ("PUT", "/datastore/image/info?image=moving", {"data": {"info": "[1]"}}),
    ("POST", "/activelearning/unknown", {}),
    ("POST", "/train/unknown", {"json": {}}),
    ("GET", "/logs/", {}),
    ("GET", f"/{'x' * 10_000}", {}),
]


@dataclass
class Answer:
    """Of one request: its kind, status (0 without an answer), seconds, and whether registrations waited meanwhile."""

    kind: str
    status: int
    seconds: float
    waited: bool = False
    leaked: bool = False


@dataclass
class Soak:
    """A client of many threads, and what it was answered."""

    address: str
    folder: Path
    answers: list[Answer] = field(default_factory=list)
    tickets: list[str] = field(default_factory=list)
    open: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def send(self, kind: str, method: str, path: str, **sent: Any) -> requests.Response | None:
        """One request, recorded."""
        start, waited = time.monotonic(), self.open > 1
        try:
            reply = requests.request(method, self.address + path, timeout=TIMEOUT, **sent)
        except requests.RequestException:
            reply = None
        answer = Answer(kind, reply.status_code if reply is not None else 0, time.monotonic() - start, waited)
        if reply is not None and reply.headers.get("content-type", "").startswith(("application/json", "text/")):
            answer.leaked = "Traceback" in reply.text or str(self.folder) in reply.text or str(ROOT) in reply.text
        with self.lock:
            self.answers.append(answer)
        return reply

    def do(self, kind: str, chance: random.Random) -> None:
        """One request of a kind."""
        params = {"fixed": "fixed", "working_size": 96, "report": False, "margin": chance.randrange(40)}
        ticket = chance.choice(self.tickets)
        if kind == "info":
            self.send(kind, "GET", "/info/")
        elif kind == "listing":
            self.send(
                kind, "GET", chance.choice(["/datastore/images", "/datastore/?output=all", "/registrations/tickets"])
            )
        elif kind == "look at a ticket":
            self.send(kind, "GET", f"/registrations/tickets/{ticket}")
        elif kind == "file of a result":
            self.send(kind, "GET", f"/registrations/{MODEL}/moving_to_fixed/metrics.json")
        elif kind == "ask for a ticket":
            reply = self.send(
                kind, "POST", "/registrations", json={"model": MODEL, "image": "moving", "params": params}
            )
            if reply is not None and reply.status_code == 202:
                with self.lock:
                    self.tickets.append(reply.json()["ticket"])
        elif kind == "infer":
            self.send(kind, "POST", FORM, data={"params": json.dumps(params)})
        elif kind == "cancel":
            self.send(kind, "DELETE", f"/registrations/tickets/{chance.choice(self.tickets[-6:])}")
        else:
            method, path, sent = chance.choice(WRONG)
            self.send(kind, method, path, **sent)

    def watch(self, ended: threading.Event) -> None:
        """Keep ``open``, the registrations that run or wait, until the event."""
        while not ended.wait(0.5):
            self.open = self.count_open()

    def count_open(self) -> int:
        """Tickets that run or wait, as the server says."""
        states = ("queued", "running")
        counts = [
            requests.get(f"{self.address}/registrations/tickets?state={state}", timeout=TIMEOUT) for state in states
        ]
        return sum(reply.json()["total"] for reply in counts)


def soak(count: int = 500, clients: int = 12, seed: int = 0, label_python: str = "") -> str:
    """Markdown tables of what was answered.

    Args:
        count: of requests.
        clients: that send at a time.
        seed: of their order.
        label_python: of the environment with MONAI Label; default that of `make label`.
    """
    python = Path(label_python or ROOT / ".venv-label" / "bin" / "python")
    with tempfile.TemporaryDirectory() as folder:
        studies = Path(folder) / "studies"
        write_studies(studies)
        with running_server(python, studies) as (address, process):
            run = Soak(address, Path(folder))
            warm_up(run)
            before = memory(process.pid)
            start, ended = time.monotonic(), threading.Event()
            watcher = threading.Thread(target=run.watch, args=(ended,))
            watcher.start()
            chance = random.Random(seed)
            kinds = chance.choices([*PLAN, "wrong"], [*PLAN.values(), 100 - sum(PLAN.values())], k=count)
            with ThreadPoolExecutor(clients) as pool:
                for kind in kinds:
                    pool.submit(run.do, kind, random.Random(chance.random())).add_done_callback(_raise)
            sent = time.monotonic() - start
            while run.count_open():
                time.sleep(0.5)
            ended.set()
            watcher.join()
            after = memory(process.pid)
            log = (Path(folder) / "server.log").read_text().count("Traceback")
    return report(run.answers, sent, before, after, log)


def _raise(done: Any) -> None:
    done.result()


def write_studies(folder: Path) -> None:
    """A pair of small images, and one that is cut off."""
    folder.mkdir(parents=True)
    fixed = transform.resize(data.immunohistochemistry(), (SIDE, SIDE), anti_aliasing=True)
    turn = transform.AffineTransform(rotation=np.deg2rad(6), translation=(8, -5))
    for name, image in (("fixed", fixed), ("moving", transform.warp(fixed, turn.inverse, cval=0.93))):
        write_image(folder / f"{name}.png", np.moveaxis((image * 255).round().astype(np.uint8), -1, 0))
    (folder / "broken.png").write_bytes((folder / "moving.png").read_bytes()[:2000])


@contextmanager
def running_server(python: Path, studies: Path) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """(address, process) of a server over a folder."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PATH": f"{python.parent}:{os.environ['PATH']}"}
    command = [
        str(python), "-m", "monailabel.main", "start_server", "--app", str(ROOT / "apps" / "warpzoo"), "--studies",
        str(studies), "--host", "127.0.0.1", "--port", str(port), "--conf", "models", MODEL,
    ]  # fmt: skip
    with (studies.parent / "server.log").open("wb") as log:
        process = subprocess.Popen(command, cwd=studies.parent, env=environment, stdout=log, stderr=log)
    address = f"http://127.0.0.1:{port}"
    try:
        _until(lambda: requests.get(f"{address}/info/", timeout=5).ok)
        yield address, process
    finally:
        stop_server(process)


def stop_server(process: subprocess.Popen[bytes], seconds: float = 30) -> None:
    """Ask a server to end; after some seconds it is made to."""
    process.send_signal(signal.SIGINT)
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _until(condition: Callable[[], bool], seconds: float = 300) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            if condition():
                return
        except requests.RequestException:
            pass
        time.sleep(0.5)
    raise TimeoutError(f"nothing after {seconds} s")


def warm_up(run: Soak) -> None:
    """One registration, so that what it loads is in the memory before."""
    wanted = {"model": MODEL, "image": "moving", "params": {"fixed": "fixed", "working_size": 96, "report": False}}
    run.tickets.append(requests.post(f"{run.address}/registrations", json=wanted, timeout=TIMEOUT).json()["ticket"])
    _until(lambda: run.count_open() == 0)


def memory(pid: int) -> tuple[float, float]:
    """MB of the server, and of the process that registers."""
    children = "".join(
        (task / "children").read_text() for task in Path(f"/proc/{pid}/task").iterdir() if (task / "children").exists()
    )
    return _resident(pid), sum(_resident(int(child)) for child in children.split())


def _resident(pid: int) -> float:
    found = re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
    return int(found[1]) / 1024 if found else 0.0


def report(
    answers: list[Answer], seconds: float, before: tuple[float, float], after: tuple[float, float], tracebacks: int
) -> str:
    """The tables."""
    codes = sorted({answer.status for answer in answers})
    lines = ["| kind | " + " | ".join(str(code or "none") for code in codes) + " | longest s |"]
    lines.append("| --- |" + " --- |" * (len(codes) + 1))
    for kind in [*PLAN, "wrong"]:
        of_kind = [answer for answer in answers if answer.kind == kind]
        counts = Counter(answer.status for answer in of_kind)
        longest = max((answer.seconds for answer in of_kind), default=0)
        lines.append(f"| {kind} | " + " | ".join(str(counts[code]) for code in codes) + f" | {longest:.2f} |")
    reads = [a.seconds for a in answers if a.waited and a.kind in ("info", "listing", "look at a ticket")]
    lines += [
        "", "| | |", "| --- | --- |",
        f"| requests, seconds | {len(answers)}, {seconds:.0f} |",
        f"| GETs while registrations waited: number, median, longest s | {len(reads)}, "
        f"{float(np.median(reads)) if reads else 0:.3f}, {max(reads, default=0):.2f} |",
        f"| 5xx but 503 | {sum(a.status >= 500 and a.status != 503 for a in answers)} |",
        f"| answers with a traceback or a folder of the server | {sum(a.leaked for a in answers)} |",
        f"| tracebacks in the server's log | {tracebacks} |",
        f"| memory of the server, MB before and after | {before[0]:.0f}, {after[0]:.0f} |",
        f"| memory of the process that registers | {before[1]:.0f}, {after[1]:.0f} |",
    ]  # fmt: skip
    return "\n".join(lines)


if __name__ == "__main__":
    fire.Fire(soak)
