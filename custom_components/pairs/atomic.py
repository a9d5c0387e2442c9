"""Files that are either whole or absent."""

from __future__ import annotations

import os
import shutil
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


@contextmanager
def atomic_folder(path: str | Path) -> Iterator[Path]:
    """An empty hidden folder beside ``path`` that takes its place on success, replacing an older one.

    The older one is renamed, not emptied: what is stopped must not leave half of it. What an earlier, stopped call left
    is removed.

    Raises:
        OSError: the folder can't be written, or is full.
    """
    final = Path(path)
    partial, old = (final.with_name(f".{final.name}.{kind}") for kind in ("partial", "old"))
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        yield partial
        shutil.rmtree(old, ignore_errors=True)
        if final.exists():
            os.replace(final, old)
        os.replace(partial, final)
    finally:
        if old.exists() and not final.exists():
            os.replace(old, final)
        for folder in (partial, old):
            shutil.rmtree(folder, ignore_errors=True)
