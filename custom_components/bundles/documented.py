"""The keys of a bundle's config with their defaults and meaning, from the YAML alone: neither torch nor MONAI.

The meaning is the comment behind the value, and the lines after it that hold nothing but a comment in the same column.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

LINE = re.compile(r"^(?P<key>[a-z]\w*):(?P<value>(?:[^#'\"]|'[^']*'|\"[^\"]*\")*?)(?:\s+#\s*(?P<comment>.*))?$")
COMPUTED = re.compile(r"booleans\.parse_bool\(|\.to\(@")  # of other keys, nobody sets it
SECTION = re.compile(r"^#\s*(?P<title>\S.*)$")


@dataclass(frozen=True)
class Key:
    """An option of a bundle.

    Attributes:
        name: of the key.
        default: value in the YAML.
        meaning: what the comment says, "" where there is none.
        section: the comment line above its group.
    """

    name: str
    default: Any
    meaning: str
    section: str


def documented_keys(file: str | Path) -> list[Key]:
    """Top-level keys that hold a value, not a component, in the order of the file."""
    text = Path(file).read_text(encoding="utf-8")
    values, found, section = yaml.safe_load(text), [], ""
    lines = text.splitlines()
    for number, line in enumerate(lines):
        title = SECTION.match(line)
        if title and (number == 0 or not lines[number - 1].strip()):
            section = title["title"]
        elif not line.strip():
            section = ""
        match = LINE.match(line)
        if match is None or isinstance(values.get(match["key"]), dict) or match["key"] in INTERNAL:
            continue
        value = values[match["key"]]
        computed = isinstance(value, str) and (value.startswith(("%", "@")) or COMPUTED.search(value) is not None)
        if computed or is_nested(value):
            continue
        meaning = [match["comment"] or ""]
        for after in lines[number + 1 :]:
            more = re.match(r"^\s{8,}#\s*(.*)$", after)
            if more is None:
                break
            meaning.append(more[1])
        found.append(Key(match["key"], value, " ".join(meaning).strip(), section))
    return found


def is_nested(value: Any) -> bool:
    """Whether a value is a list of components or references."""
    return isinstance(value, list) and any(
        isinstance(item, dict) or (isinstance(item, str) and item[:1] in "@%$") for item in value
    )


INTERNAL = frozenset({"imports", "bundle_root", "initialize", "run", "finalize"})


def description(folder: str | Path) -> dict[str, Any]:
    """``metadata.json`` of a bundle."""
    found: dict[str, Any] = json.loads((Path(folder) / "configs" / "metadata.json").read_text(encoding="utf-8"))
    return found
