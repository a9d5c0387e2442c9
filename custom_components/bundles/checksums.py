"""A packed bundle's own list of SHA-256 sums, by which a changed or half-copied one is noticed before it runs."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from pathlib import Path

from custom_components.common.errors import InputError

SUMS = "SHA256SUMS"  # as the program sha256sum writes and checks it
LINE = re.compile(r"([0-9a-f]{64})  (.+)")


def sums_of(folder: Path, files: Iterable[str]) -> str:
    """The list of some files of a folder, by their paths relative to it."""
    return "".join(f"{_digest(folder / name)}  {name}\n" for name in sorted(files))


def verify(folder: Path) -> None:
    """Compare the files of a packed bundle with its list; a bundle without one is as it is.

    Raises:
        InputError: a file is missing or another one, or the list can't be read or names files elsewhere.
    """
    listed = folder / SUMS
    if not listed.is_file():
        return
    way = f"unpack the bundle again; if you changed it yourself, remove {listed}"
    for line in listed.read_text(encoding="utf-8", errors="replace").splitlines():
        entry = LINE.fullmatch(line)
        if entry is None or entry[2].startswith("/") or ".." in Path(entry[2]).parts:
            raise InputError(f"{listed} has a line that is none: '{line[:80]}'; {way}")
        file = folder / entry[2]
        if not file.is_file():
            raise InputError(f"{file} is missing, which {SUMS} names; {way}")
        if _digest(file) != entry[1]:
            raise InputError(f"{file} is not the file that was packed: its SHA-256 differs from {SUMS}; {way}")


def _digest(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
