"""Several byte strings and arrays in one file, each read by itself: what a block of a large image becomes."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from custom_components.common.arrays import Array
from custom_components.pairs import atomic_path

Part = bytes | Array
HEAD = 8  # bytes that say how long the table of contents is


def write_parts(file: Path, parts: Mapping[str, Part]) -> int:
    """Write the file, whole or not at all; returns the bytes of the parts."""
    table, place, data = {}, 0, []
    for name, part in parts.items():
        content = part if isinstance(part, bytes) else np.ascontiguousarray(part).tobytes()
        form = None if isinstance(part, bytes) else [part.dtype.str, *part.shape]
        table[name] = [place, len(content), form]
        place += len(content)
        data.append(content)
    contents = json.dumps(table).encode()
    with atomic_path(file) as partial, partial.open("wb") as stream:
        stream.writelines([len(contents).to_bytes(HEAD, "little"), contents, *data])
    return place


class PartsReader:
    """Reads what ``write_parts`` wrote.

    Args:
        file: the file; its table of contents is read at once.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        with file.open("rb") as stream:
            length = int.from_bytes(stream.read(HEAD), "little")
            self._table = json.loads(stream.read(length))
        self._start = HEAD + length

    def content(self, name: str) -> bytes:
        """The bytes of a part."""
        place, length, _ = self._table[name]
        descriptor = os.open(self.file, os.O_RDONLY)
        try:
            return os.pread(descriptor, length, self._start + place)
        finally:
            os.close(descriptor)

    def array(self, name: str) -> Array:
        """A part that was written as an array."""
        dtype, *shape = self._table[name][2]
        return np.frombuffer(self.content(name), dtype=dtype).reshape(shape)
