"""Which pair a process was at when it died, so that one file which no library survives doesn't end every run.

Before a pair is read, ``.<id>.attempt`` is written beside its folder, and removed when the pair has ended, however it
went. What is left of it says in the next run that the process died. Python writes the signal and the place into it
where the process itself went wrong (an abort or a segmentation fault in a library); where it was killed from outside
(memory, a time limit, a user) there is nothing, and the pair is tried again after all others.
"""

from __future__ import annotations

import faulthandler
import hashlib
import json
import re
import sys
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from custom_components.outputs.identity import list_inputs, size_and_time
from custom_components.pairs import Pair
from custom_components.pairs.owners import is_running, process_mark

KILLS = 3  # without a sign of a crash, after which a pair is not tried any more
SIGN = re.compile(r"^Fatal Python error: (.+)$", re.MULTILINE)
AGAIN = "--resume false tries it again"


@dataclass(frozen=True)
class Death:
    """What is known of a process that died at a pair.

    Attributes:
        count: of processes that did so one after another.
        crash: what went wrong in the last of them; "" where it was killed from outside.
    """

    count: int
    crash: str = ""

    def reason(self, pair: Pair) -> str:
        """Why the pair is not tried again; "" where it is."""
        names = f"{pair.moving.name} onto {pair.fixed.name}"
        if self.crash:
            return (
                f"{names}: the process that read or registered this pair crashed ({self.crash}); one of its files is "
                f"damaged in a way that a library does not survive; {AGAIN}"
            )
        if self.count >= KILLS:
            return f"{names}: {self.count} processes were killed at this pair, mostly for want of memory; {AGAIN}"
        return ""


def record_file(output_dir: Path, identifier: str) -> Path:
    """Where an attempt at a pair is recorded."""
    return output_dir / f".{identifier}.attempt"


def read_death(output_dir: Path, pair: Pair) -> Death | None:
    """What the last attempt at the pair came to, where its process died at the same files; else None."""
    try:
        first, _, rest = record_file(output_dir, pair.id).read_text(errors="replace").partition("\n")
        said = json.loads(first)
        if is_running(said["process"]) or said["key"] != _key(pair):
            return None
        found = SIGN.search(rest)
        return Death(int(said["deaths"]) + 1, found[1] if found else "")
    except (OSError, ValueError, KeyError, TypeError):
        return None


def clear_attempts(output_dir: Path, done: Collection[str]) -> None:
    """Remove the records of pairs that are done, whose processes were killed between the result and the record."""
    if not output_dir.is_dir():
        return
    for file in output_dir.glob(".*.attempt"):
        if file.name[1 : -len(".attempt")] not in done:
            continue
        with suppress(OSError, ValueError, KeyError, TypeError):
            if not is_running(json.loads(file.read_text(errors="replace").partition("\n")[0])["process"]):
                file.unlink(missing_ok=True)


def ordered(pairs: Sequence[Pair], deaths: dict[str, Death]) -> list[Pair]:
    """The pairs with those at which a process died last."""
    return sorted(pairs, key=lambda pair: deaths[pair.id].count if pair.id in deaths else 0)


class Attempt:
    """The record of a pair that is being read, registered and written; one a process at a time.

    A disk that takes no more leaves a pair without a record rather than without a registration.

    Args:
        output_dir: of the run.
        pair: that is tried.
    """

    def __init__(self, output_dir: Path, pair: Pair) -> None:
        self.file = record_file(output_dir, pair.id)
        self._stream: IO[str] | None = None
        self._was_on = faulthandler.is_enabled()
        death = read_death(output_dir, pair)
        said = {"process": process_mark(), "key": _key(pair), "deaths": death.count if death else 0}
        with suppress(OSError):
            if output_dir.is_dir():
                self._stream = self.file.open("w")
                self._stream.write(json.dumps(said) + "\n")
                self._stream.flush()
                faulthandler.enable(self._stream, all_threads=False)

    def end(self) -> None:
        """The pair has ended, well or not."""
        if self._stream is None:
            return
        faulthandler.disable()
        if self._was_on:
            with suppress(OSError, ValueError, AttributeError, RuntimeError):  # stderr may be no file
                faulthandler.enable(sys.__stderr__ or sys.stderr)
        with suppress(OSError):  # the folder may have been removed under the run
            self._stream.close()
            self.file.unlink(missing_ok=True)
        self._stream = None


def _key(pair: Pair) -> str:
    """What a later run must have in common with an attempt for its end to count: files, bundle and options."""
    run = pair.run.get("settings")
    said: list[Any] = [repr(run)]
    for name, path in sorted(list_inputs(pair).items()):
        with suppress(OSError):
            said.append((name, str(path.resolve()), *size_and_time(path)))
    return hashlib.sha256(repr(said).encode()).hexdigest()[:16]
