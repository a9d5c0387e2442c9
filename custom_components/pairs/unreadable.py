"""The one place where what a library raises on a file becomes an error that names the file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar

from custom_components.common.errors import InputError
from custom_components.pairs.formats import UNREADABLE, first_line

Read = TypeVar("Read", bound=Callable[..., Any])
SHORT = 300  # characters of what a library says


@contextmanager
def readable(file: Path, what: str = "image") -> Iterator[None]:
    """Whatever is raised of ``pairs.formats.UNREADABLE`` while it lasts is about ``file``.

    Args:
        file: that is read.
        what: the message calls it.

    Raises:
        InputError: that names the file.
    """
    try:
        with about_file(file, what):
            yield
    except InputError:
        raise
    except MemoryError as error:
        raise InputError(f"{what} {file} can't be read, it needs more memory than is free") from error
    except RecursionError as error:
        raise InputError(f"{what} {file} can't be read, it is nested too deeply") from error
    except UNREADABLE as error:
        said = first_line(error)[:SHORT]
        raise InputError(f"{what} {file} can't be read, it may be damaged or cut off: {said}") from error


@contextmanager
def about_file(file: Path, what: str = "image") -> Iterator[None]:
    """An ``InputError`` about the content of ``file`` names it, if it does not yet; nothing else is changed."""
    try:
        yield
    except InputError as error:
        if file.name in str(error):
            raise
        raise InputError(f"{what} {file}: {error}") from error


def naming_file(read: Read) -> Read:
    """A method that reads a part of the image ``self.path``, whose errors name that, see ``readable``."""

    @wraps(read)
    def told(self: Any, *args: Any, **kwargs: Any) -> Any:
        with readable(self.path):
            return read(self, *args, **kwargs)

    return told  # type: ignore[return-value]
