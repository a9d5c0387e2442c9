"""What becomes of one file that is read in a process of its own: how it ended, how long it took, what else it opened."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import select
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

from custom_components.annotations import parse_annotations
from custom_components.common.errors import InputError
from custom_components.pairs import read_annotations, read_image, read_landmarks
from custom_components.pairs.formats import full_suffix
from custom_components.pairs.table import read_pairs
from custom_components.pairs.volume_points import is_markups, read_volume_points

SECONDS, MEGABYTES = 5.0, 1000.0  # that a file may take
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
        seconds: of reading.
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
        parse_annotations(read_annotations(file).data)
    else:
        read_image(file, longest=1800)


def judged(file: Path, work: Callable[[Path], None] = read) -> Verdict:
    """What ``work`` makes of ``file`` in a forked process."""
    receiving, sending = os.pipe()
    start = time.perf_counter()
    child = os.fork()
    if child == 0:
        os.close(receiving)
        _tell(file, work, sending)
    os.close(sending)
    try:
        ready, _, _ = select.select([receiving], [], [], PATIENCE)
        if not ready:
            os.kill(child, signal.SIGKILL)
        with os.fdopen(receiving, "rb") as stream:
            told = stream.read()
    finally:
        _, status = os.waitpid(child, 0)
    seconds = time.perf_counter() - start
    if not ready:
        return Verdict("hung", f"over {PATIENCE:.0f} s", seconds)
    if not told:
        name = signal.Signals(os.WTERMSIG(status)).name if os.WIFSIGNALED(status) else str(status)
        return Verdict("aborted", name, seconds)
    return Verdict(**json.loads(told))


def _tell(file: Path, work: Callable[[Path], None], sending: int) -> None:
    """What the forked process does; never returns."""
    opened: list[str] = []
    beside = str(file.resolve().parent)

    def noted(event: str, arguments: tuple[object, ...]) -> None:
        if event == "open" and isinstance(arguments[0], str | bytes):
            path = os.path.realpath(os.fsdecode(arguments[0]))
            if not path.startswith((beside, *USUAL)):
                opened.append(path)
        elif event in ("os.system", "subprocess.Popen", "os.exec", "socket.connect"):
            opened.append(f"{event} {arguments}")

    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, 1)
    os.dup2(quiet, 2)
    resource.setrlimit(resource.RLIMIT_DATA, (MOST, MOST))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    sys.addaudithook(noted)
    start = time.perf_counter()
    try:
        work(file)
        ending, said = "read", ""
    except InputError as error:
        ending, said = "refused" if file.name in str(error) else "unnamed", str(error)
    except BaseException as error:
        ending, said = "raw", f"{type(error).__module__}.{type(error).__name__}: {error}"
    seconds = time.perf_counter() - start
    more = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    verdict = Verdict(ending, said[:500], seconds, more, sorted(set(opened)))
    with contextlib.suppress(OSError):
        os.write(sending, json.dumps(asdict(verdict)).encode())
    os._exit(0)
