"""Text in a config that means itself, such as the path of a file, whatever characters it has.

MONAI's parser evaluates text that begins with ``$``, looks up what begins with ``@`` or ``%``, and makes ``::`` of
every ``#``. Text that it would change is written as an expression without these characters that gives the text.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from pathlib import Path
from typing import Any

SIGILS = ("$", "@", "%")
CHANGED = "#@%$\\'"
# keys whose value is a path or a name, never something to look up: a file or folder may have any name
FILES = frozenset({
    "pairs", "moving", "fixed", "moving_landmarks", "fixed_landmarks", "moving_annotations", "fixed_annotations",
    "moving_labels", "fixed_labels", "moving_mask", "fixed_mask",
})  # fmt: skip
NAMES = FILES | {"output_dir", "dataset_dir", "id", "note", "status"}


def literal(text: str) -> str:
    """The text in a form that MONAI's parser leaves as it is; the text itself where it does so anyway."""
    if "#" not in text and not text.startswith(SIGILS):
        return text
    escaped = "".join(f"\\x{ord(c):02x}" if c in CHANGED or ord(c) < 32 else c for c in text)
    return f"$'{escaped}'"


def literal_text(value: Any) -> Any:
    """The text that ``literal`` was given; any other value as it is."""
    if not isinstance(value, str) or not value.startswith("$'"):
        return value
    try:
        text = ast.literal_eval(value[1:])
    except (ValueError, SyntaxError):
        return value
    return text if isinstance(text, str) and literal(text) == value else value


def as_literal(key: str, value: Any) -> Any:
    """The value that a user gave for a key of a config, so that it reaches the component as it was given.

    Args:
        key: top-level; of ``NAMES`` all text is meant literally, of others what only contains a ``#``.
        value: given on a command line or in Python.
    """
    if isinstance(value, Path):
        return literal(str(value))
    if not isinstance(value, str) or literal_text(value) != value:
        return value
    if key in NAMES or not value.startswith(SIGILS):
        return literal(value)
    return value


def literals_in(config: Mapping[str, Any]) -> dict[str, str]:
    """Entries of a parsed config that the parser would not give, or has not kept, as they were meant, put right.

    For MONAI's own command, where ``$`` and ``@`` may be meant and every ``#`` is ``::`` by now: what exists as a file
    or folder is taken for that, and an output folder or id, which need not exist, for one with a ``#``.

    Args:
        config: raw, overrides in it.
    """
    start = Path(str(config.get("dataset_dir") or "."))
    start = next((folder for folder in (start, Path(_restored(str(start)))) if folder.exists()), start)
    found = {}
    for key, value in config.items():
        if not isinstance(value, str) or literal_text(value) != value or (key not in NAMES and value[:1] in SIGILS):
            continue
        folder = start if key in FILES else Path()
        there = next((text for text in (value, _restored(value)) if text and (folder / text).exists()), None)
        if there is None and key in ("output_dir", "id") and not value.startswith(SIGILS):
            there = _restored(value)
        if there is None and not value.startswith(SIGILS):
            there = value
        if there is not None and literal(there) != value:
            found[key] = literal(there)
    return found


def _restored(text: str) -> str:
    return text.replace("::", "#")
