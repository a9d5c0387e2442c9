"""Files that are either whole or absent."""

from __future__ import annotations

import errno
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
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

    The hidden folder has a name of its own, as another process may be writing the same one.

    Raises:
        OSError: the folder can't be written, or is full.
    """
    final, token = Path(path), uuid.uuid4().hex[:8]
    partial, old = (final.with_name(f".{final.name}.{token}.{kind}") for kind in ("partial", "old"))
    try:
        partial.mkdir(parents=True)
        yield partial
        _replace(final, partial, old)
    except BaseException:
        with suppress(OSError):  # nothing was moved away, or another process has put its own there
            os.replace(old, final)
        raise
    finally:
        for folder in (partial, old):
            shutil.rmtree(folder, ignore_errors=True)


def _replace(final: Path, partial: Path, old: Path) -> None:
    """Put ``partial`` in place of ``final``, which moves to ``old``.

    Renamed, not emptied: a run that is stopped here must not leave half of an older result.
    """
    for remaining in reversed(range(100)):
        shutil.rmtree(old, ignore_errors=True)
        with suppress(FileNotFoundError):
            os.replace(final, old)
        try:
            os.replace(partial, final)
            return
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST) or not remaining:
                raise  # else another process has put its own there in between
