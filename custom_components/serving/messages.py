"""What of a message may go to a client: one line, short, without the server's folders."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterable
from pathlib import Path
from tempfile import gettempdir
from urllib.parse import quote

SCRATCH = "warpzoo-"  # beginning of the names of temporary folders
LONGEST = 1000  # characters of a message
# a path of this machine, of which the last name stays; behind a letter or dot it is a relative one or an address, and
# some are the server's own calls
CALLS = r"(?!/(?:datastore|registrations|batch/infer)\b)"
ABSOLUTE = re.compile(rf"(?<![\w.:/\\-]){CALLS}(?:[A-Za-z]:)?[/\\](?:[^/\\\s'\",;:]+[/\\])+(?P<name>[^/\\\s'\",;:]*)")
TRACEBACK = re.compile(r"Traceback \(most recent call last\).*", re.DOTALL)


def public(message: str, folders: Iterable[str | Path] = ()) -> str:
    """The message in one line, without paths of the server, tracebacks, control characters and half surrogates.

    Args:
        message: of an error.
        folders: of the server, of which names with spaces are known; in them only what is relative stays.
    """
    text = TRACEBACK.sub("an internal error", message)
    for folder in sorted({str(folder).rstrip("/") for folder in folders}, key=len, reverse=True):
        if len(folder) > 1:
            text = text.replace(f"{folder}/", "").replace(folder, "the served folder")
    text = ABSOLUTE.sub(lambda found: found["name"] or "a folder of the server", text)
    return short(text, LONGEST)


def without_folders(text: str, folders: Iterable[str | Path]) -> str:
    """A text such as metrics.json with paths relative to the folders that they are in, however it escapes them.

    Args:
        text: of JSON, CSV or HTML.
        folders: absolute ones.
    """
    for folder in sorted({str(folder).rstrip("/") for folder in folders}, key=len, reverse=True):
        for form in {folder, json.dumps(folder)[1:-1], html.escape(folder), quote(folder)}:
            if len(form) > 1:
                text = text.replace(f"{form}/", "")
    return re.sub(rf"{re.escape(gettempdir())}/{SCRATCH}\w+/", "", text)


def short(text: str, longest: int = 80) -> str:
    """One line of at most so many characters, all of them printable."""
    line = " ".join(text[: 4 * longest].split())
    line = "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in line)
    return line if len(line) <= longest else f"{line[: longest - 3]}..."
