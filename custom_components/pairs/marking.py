"""Folders of files that a command has made, told from those of the user by a hidden note."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from custom_components.common.errors import InputError

MARK = ".made_by_warpzoo"


def check_set_folder(folder: Path, names: Iterable[str], maker: str) -> None:
    """Raise ``InputError`` when files of the user's would be written over.

    Args:
        folder: of the files.
        names: of files or folders in it that would be written.
        maker: the command, as ``mark_set`` notes it; what it made before may be replaced.
    """
    if is_marked(folder, maker):
        return
    there = next((folder / name for name in names if (folder / name).exists()), None)
    if there is not None:
        raise InputError(f"{there} exists and was not made by {maker}; it is not written over, choose another folder")


def is_marked(folder: Path, maker: str) -> bool:
    """Whether the command ``maker`` has made the folder's files."""
    try:
        return maker in (folder / MARK).read_text().splitlines()
    except OSError:
        return False


def mark_set(folder: Path, maker: str) -> None:
    """Note in ``folder`` that the command ``maker`` makes its files."""
    if not is_marked(folder, maker):
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / MARK).open("a") as stream:
            stream.write(f"{maker}\n")
