"""Files that are either whole or absent."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from custom_components.errors import InputError


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """A temporary path beside ``path``, with its suffixes; renamed to it on success, removed on failure.

    Raises:
        InputError: the folder does not exist or can't be written.
    """
    target = Path(path)
    partial = target.with_name(f".{uuid.uuid4().hex[:8]}.{target.name}")
    try:
        yield partial
        os.replace(partial, target)
    except OSError as error:
        raise InputError(f"{target}: can't be written ({error.strerror or error})") from error
    finally:
        partial.unlink(missing_ok=True)
