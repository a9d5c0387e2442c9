"""What tifffile says of a damaged file and then passes over: pages and tags that lie beyond its end."""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from custom_components.common.errors import InputError

# channels of a cut file would be missing, or names and sizes of pixels, without a word
SERIOUS = re.compile(r"invalid page offset|circular reference|invalid value offset (?!\b[0-7]\b)|OME series raised")


class _Kept(logging.Handler):
    """Messages of this thread."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.thread = threading.get_ident()
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep it."""
        if record.thread == self.thread:
            self.messages.append(record.getMessage())


@contextmanager
def refusing_damage(file: Path) -> Iterator[None]:
    """Let a TIFF be opened, and refuse it for what its reader passes over.

    Raises:
        InputError: pages or tags lie beyond the end of the file, or the description of its channels can't be read.
    """
    kept, logger = _Kept(), logging.getLogger("tifffile")
    logger.addHandler(kept)
    try:
        yield
    finally:
        logger.removeHandler(kept)
    found = next((message for message in kept.messages if SERIOUS.search(message)), None)
    if found is not None:
        said = re.sub(r"<tifffile\.(\w+) [^>]*>", r"\1", found)
        raise InputError(f"image {file} can't be read, it may be damaged or cut off: {said}")
