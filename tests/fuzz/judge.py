"""What becomes of one file that is read in a process of its own: how it ends, how long it takes, what else it opens."""

from __future__ import annotations

import contextlib
import faulthandler
import json
import os
import resource
import select
import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from custom_components.annotations import check_annotations
from custom_components.common.errors import InputError
from custom_components.pairs import read_image, read_landmarks
from custom_components.pairs.formats import full_suffix
from custom_components.pairs.table import read_pairs
from custom_components.pairs.volume_points import is_markups, read_volume_points

SECONDS, MEGABYTES = 5.0, 1000.0  # of the processor and of memory, that a file may take
PATIENCE = 20.0  # seconds after which its process is ended
MOST = 6 << 30  # bytes of a process, so that a bomb ends there and not the machine
ANNOTATIONS = (".geojson", ".json", ".xml", ".roi", ".zip", ".gz", ".parquet", ".geoparquet")
TABLES = (".csv", ".tsv", ".xlsx", ".fcsv")
# of Python and its packages, and of the system's description of itself
USUAL = tuple({
    os.path.realpath(sys.prefix), os.path.realpath(sys.base_prefix), str(Path(__file__).resolve().parents[2]),
    "/proc", "/sys", "/dev", "/usr", "/etc/mime.types",
})  # fmt: skip


@dataclass(frozen=True)
class Verdict:
    """Of one file.

    Attributes:
        ending: "read", "refused" (an InputError that names the file), "unnamed" (one that does not), "raw" (any other
            exception), "aborted" (by a signal) or "hung".
        said: the message.
        seconds: of the processor; what waits is ended after ``PATIENCE``.
        megabytes: of memory beyond what the process began with.
        opened: other files than the one that was given and those beside it.
    """

    ending: str
    said: str = ""
    seconds: float = 0.0
    megabytes: float = 0.0
    opened: list[str] = field(default_factory=list)

    @property
    def faults(self) -> list[str]:
        """What is wrong about it, in words; none where all is well."""
        found = [] if self.ending in ("read", "refused") else [f"{self.ending}: {self.said}"]
        found += [f"{self.seconds:.1f} s"] if self.seconds > SECONDS else []
        found += [f"{self.megabytes:.0f} MB"] if self.megabytes > MEGABYTES else []
        return found + [f"opened {path}" for path in self.opened]


def read(file: Path) -> None:
    """Read a file as the product does, by its suffix."""
    suffix = full_suffix(file)
    suffix = file.suffix.lower() if suffix != ".nii.gz" else suffix
    if is_markups(file):
        read_volume_points(file)
    elif "pairs" in file.name and suffix in TABLES:
        read_pairs(file)
    elif suffix in TABLES or file.name.lower().endswith(".csv.gz"):
        read_landmarks(file)
    elif suffix in ANNOTATIONS:
        check_annotations(file)
    else:
        read_image(file, longest=1800)


def judged(files: Iterable[Path], work: Callable[[Path], None] = read) -> Iterator[Verdict]:
    """What ``work`` makes of each file, in a forked process that goes on with the next one; a new one where it died.

    Args:
        files: looked at one after another, each before the next is asked for.
        work: reads a file.
    """
    child = _Child(work)
    try:
        for file in files:
            start = time.perf_counter()
            told = child.ask(file)
            if told is None:
                seconds = time.perf_counter() - start
                hung, ended = child.end()
                yield Verdict("hung" if hung else "aborted", ended, seconds)
                child = _Child(work)
            else:
                yield Verdict(**json.loads(told))
    finally:
        child.end()


class _Child:
    """A forked process that reads the files it is told of."""

    def __init__(self, work: Callable[[Path], None]) -> None:
        asked, self.asking = os.pipe()
        self.told, telling = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            os.close(self.asking)
            os.close(self.told)
            _serve(work, asked, telling)
        os.close(asked)
        os.close(telling)
        self.hung = False

    def ask(self, file: Path) -> str | None:
        """A verdict as JSON; None where the process died or does not end."""
        os.write(self.asking, f"{file}\n".encode())
        answer, end = b"", time.monotonic() + PATIENCE
        while not answer.endswith(b"\n"):
            ready, _, _ = select.select([self.told], [], [], max(0.0, end - time.monotonic()))
            if not ready:
                self.hung = True
                return None
            part = os.read(self.told, 1 << 16)
            if not part:
                return None
            answer += part
        return answer.decode()

    def end(self) -> tuple[bool, str]:
        """(whether it had to be killed, how it ended)."""
        os.close(self.asking)
        if self.hung:
            os.kill(self.pid, signal.SIGKILL)
        _, status = os.waitpid(self.pid, 0)
        os.close(self.told)
        if self.hung:
            return True, f"over {PATIENCE:.0f} s"
        return False, signal.Signals(os.WTERMSIG(status)).name if os.WIFSIGNALED(status) else f"exit code {status >> 8}"


def _serve(work: Callable[[Path], None], asked: int, telling: int) -> None:
    """What the forked process does; never returns."""
    opened: list[str] = []
    beside = [""]

    def noted(event: str, arguments: tuple[object, ...]) -> None:
        if event == "open" and isinstance(arguments[0], str | bytes):
            path = os.path.realpath(os.fsdecode(arguments[0]))
            if not path.startswith((beside[0], *USUAL)):
                opened.append(path)
        elif event in ("os.system", "subprocess.Popen", "os.exec", "socket.connect"):
            opened.append(f"{event} {arguments}")

    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, 1)
    os.dup2(quiet, 2)
    resource.setrlimit(resource.RLIMIT_DATA, (MOST, MOST))
    faulthandler.disable()  # of pytest
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    sys.addaudithook(noted)
    with os.fdopen(asked) as questions:
        for line in questions:
            file = Path(line.removesuffix("\n"))
            beside[0] = str(file.resolve().parent)
            opened.clear()
            verdict = _verdict(file, work)
            verdict = replace(verdict, opened=sorted(set(opened)))
            os.write(telling, json.dumps(asdict(verdict)).encode() + b"\n")
    os._exit(0)


def _verdict(file: Path, work: Callable[[Path], None]) -> Verdict:
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    before, start = _memory("VmRSS:"), time.process_time()
    try:
        work(file)
        ending, said = "read", ""
    except InputError as error:
        ending, said = "refused" if file.name in str(error) else "unnamed", str(error)
    except BaseException as error:
        ending, said = "raw", f"{type(error).__module__}.{type(error).__name__}: {error}"
    seconds = time.process_time() - start
    return Verdict(ending, said[:500], seconds, _memory("VmHWM:") - before)


def _memory(name: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name)) / 1024
