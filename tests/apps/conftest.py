"""A real server of MONAI Label with the app, in an environment of its own.

`make label` makes it; WARPZOO_LABEL_PYTHON names another one's python.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import numpy as np
import pytest
import requests
from skimage import data

from benchmarks.server_soak import stop_server
from custom_components.pairs import write_image, write_points
from custom_components.pairs.demo import write_demo_pair

ROOT = Path(__file__).resolve().parents[2]
APP = ROOT / "apps" / "warpzoo"
MODEL = "hybrid_matching"


class Server:
    """One that runs.

    Attributes:
        address: of it.
        process: of it, whose children do the registrations.
        log: what it writes.
    """

    def __init__(self, address: str, process: subprocess.Popen[bytes], log: Path) -> None:
        self.address, self.process, self.log = address, process, log

    def call(self, method: str, path: str, **more: object) -> requests.Response:
        return requests.request(method, self.address + path, **{"timeout": 120, **more})  # type: ignore[arg-type]

    def ask(self, image: str = "moving", **params: object) -> requests.Response:
        """A ticket for a registration onto "fixed"."""
        wanted = {"fixed": "fixed", "working_size": 128, "report": False, **params}
        return self.call("POST", "/registrations", json={"model": MODEL, "image": image, "params": wanted})

    def ended(self, ticket: str, seconds: float = 120) -> dict:
        """A ticket once it is neither queued nor running."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            found = self.call("GET", f"/registrations/tickets/{ticket}").json()
            if found["state"] not in ("queued", "running"):
                return found
            time.sleep(0.2)
        raise AssertionError(f"{found} after {seconds} s")


Start = Callable[..., AbstractContextManager[Server]]


@pytest.fixture(scope="session")
def label_python() -> Path:
    """Python of an environment with MONAI Label."""
    python = Path(os.environ.get("WARPZOO_LABEL_PYTHON", ROOT / ".venv-label" / "bin" / "python"))
    if not python.is_file():
        pytest.skip(f"no environment with MONAI Label at {python}: `make label`, or set WARPZOO_LABEL_PYTHON")
    if subprocess.run([python, "-c", "import monailabel.main"], capture_output=True).returncode:
        pytest.skip(f"{python} can't import monailabel: `make label`, or set WARPZOO_LABEL_PYTHON")
    return python


@pytest.fixture(scope="session")
def start(label_python, tmp_path_factory) -> Start:
    """Starts a server over a folder as a user does, with settings of ``--conf`` and of the environment."""

    @contextmanager
    def started(studies: Path, conf: dict[str, object] | None = None, **environment: str) -> Iterator[Server]:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        log = tmp_path_factory.mktemp("log") / "server.log"
        around = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"} | environment
        around |= {"PATH": f"{label_python.parent}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
        command = [
            label_python, "-m", "monailabel.main", "start_server", "--app", APP, "--studies", studies, "--port",
            str(port), "--host", "127.0.0.1", "--conf", "models", f"{MODEL},patch_nonrigid",
        ]  # fmt: skip
        command += [text for key, value in (conf or {}).items() for text in ("--conf", key, str(value))]
        with log.open("w") as stream:
            process = subprocess.Popen(command, cwd=log.parent, env=around, stdout=stream, stderr=stream)
        server = Server(f"http://127.0.0.1:{port}", process, log)
        try:
            end = time.monotonic() + 180
            while True:
                if process.poll() is not None or time.monotonic() > end:
                    pytest.fail(f"the server ended or does not answer: {log.read_text()[-3000:]}")
                try:
                    requests.get(f"{server.address}/openapi.json", timeout=5).raise_for_status()
                    break
                except requests.RequestException:
                    time.sleep(0.5)
            yield server
        finally:
            stop_server(process)

    return started


@pytest.fixture(scope="session")
def studies(tmp_path_factory) -> Path:
    """The demo's pair, and files that nobody should be given."""
    folder = tmp_path_factory.mktemp("served") / "studies"
    write_demo_pair(folder)
    write_image(folder / "retina.png", np.moveaxis(data.retina()[300:812, 300:812], -1, 0))
    (folder / "broken.png").write_bytes((folder / "moving.png").read_bytes()[:20000])
    shutil.copyfile(folder / "fixed.png", folder.parent / "secret.png")
    write_points(folder.parent / "secret.csv", np.ones((1, 2)))
    (folder / "link.png").symlink_to(folder.parent / "secret.png")
    (folder / "link.csv").symlink_to(folder.parent / "secret.csv")
    return folder


@pytest.fixture(scope="session")
def server(start, studies) -> Iterator[str]:
    """Address of a server over them."""
    with start(studies) as running:
        yield running.address


@pytest.fixture
def small(tmp_path) -> Path:
    """A studies folder of its own with the demo's pair."""
    write_demo_pair(tmp_path / "studies")
    return tmp_path / "studies"
