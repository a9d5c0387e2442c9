"""``python -m tests.fuzz [--seconds 300] [--first 0] [--keep FOLDER]``: damage files of every form and read them."""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import fire

from tests.fuzz.judge import judged, read
from tests.fuzz.mutations import damaged
from tests.fuzz.seeds import write_seeds


def fuzz(
    seconds: float = 300.0, rounds: int | None = None, first: int = 0, keep: str = "out/fuzz", only: str = ""
) -> None:
    """Read damaged files until the time is up, and print what each form came to; exit code 1 where anything is wrong.

    Args:
        seconds: to go on for.
        rounds: of damage to each form in place of that.
        first: number of the first damage; a number always gives the same.
        keep: folder for the files on which something was wrong.
        only: a part of the names of the forms to take.
    """
    endings, faults = fuzzed(seconds, rounds, first, Path(keep), only)
    total: Counter[str] = sum(endings.values(), Counter())
    for name, counts in endings.items():
        print(f"{name:24} {dict(counts)}")
    print(f"{sum(total.values()) - total['faults']} files: {dict(total)}")
    sys.exit(1 if faults else 0)


def fuzzed(
    seconds: float, rounds: int | None, first: int, keep: Path | None = None, only: str = ""
) -> tuple[dict[str, Counter[str]], list[str]]:
    """(how often each form ended how, what was wrong); see ``fuzz``."""
    with tempfile.TemporaryDirectory() as scratch:
        seeds = [file for file in write_seeds(Path(scratch) / "seeds") if only in file.name]
        for seed in seeds:
            read(seed)  # whole files are read; and what is imported later would count for the first of them
        asked: list[tuple[Path, int, str]] = []
        files = _files(seeds, Path(scratch) / "damaged", asked, seconds, rounds, first)
        endings: dict[str, Counter[str]] = {seed.name: Counter() for seed in seeds}
        faults: list[str] = []
        for verdict in judged(files):
            file, number, kind = asked[-1]
            endings[file.name][verdict.ending] += 1
            if verdict.faults:
                endings[file.name]["faults"] += 1
                faults.append(f"{file.name} {number} ({kind}): {'; '.join(verdict.faults)}")
                print(faults[-1], flush=True)
                if keep is not None:
                    _keep(file, keep / f"{number}_{file.name}")
    return endings, faults


def _files(
    seeds: list[Path], place: Path, asked: list[tuple[Path, int, str]], seconds: float, rounds: int | None, first: int
) -> Iterator[Path]:
    """Damaged files, each written when it is asked for and noted in ``asked`` with its number and kind of damage."""
    place.mkdir()
    contents, start, number = {seed: seed.read_bytes() for seed in seeds}, time.monotonic(), first
    for seed in seeds:
        if seed.with_suffix(".hdr").is_file():
            shutil.copyfile(seed.with_suffix(".hdr"), place / seed.with_suffix(".hdr").name)
    while time.monotonic() - start < seconds if rounds is None else number - first < rounds:
        for form, (seed, content) in enumerate(contents.items()):
            kind, changed = damaged(content, number + form)
            file = place / seed.name
            file.write_bytes(changed)
            asked[:] = [(file, number, kind)]
            yield file
        number += 1


def _keep(file: Path, place: Path) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(file, place)


if __name__ == "__main__":
    fire.Fire(fuzz)
