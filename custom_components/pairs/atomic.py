"""Files and folders that are either whole or absent, and that take nothing of the user's with them."""

from __future__ import annotations

import errno
import os
import re
import shutil
import time
import uuid
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from custom_components.common.errors import InputError
from custom_components.pairs.owners import OWNER, is_owned, is_running, process_mark, read_owner, sign

IsOurs = Callable[[str], bool]  # of a path relative to a folder, with slashes
Recognise = Callable[[Path], IsOurs]
LEFTOVER_FILE = r"\.(?P<mark>[0-9a-f]{4}-[0-9a-f]+-[0-9a-f]+)\.[0-9a-f]{4}\.(?P<name>.+)"
LEFTOVER = r"\.(?P<name>.+?)(\.(?P<token>[0-9a-f]{8}))?(\.\d+)?\.(?P<kind>new|partial|old)"


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """A temporary path beside ``path``, with its suffixes; renamed to it on success, removed on failure.

    Its name tells the process that is writing it, by which ``clear_file_leftovers`` finds those that were killed.

    Raises:
        InputError: the folder does not exist or can't be written.
    """
    target = Path(path)
    partial = target.with_name(f".{process_mark()}.{uuid.uuid4().hex[:4]}.{target.name}")
    try:
        yield partial
        os.replace(partial, target)
    except OSError as error:
        raise InputError(f"{target}: can't be written ({error.strerror or error})") from error
    finally:
        partial.unlink(missing_ok=True)


def refuse(folder: Path) -> IsOurs:
    """Recognises nothing: whatever is in the folder is the user's.

    Raises:
        InputError: always.
    """
    raise InputError(f"{folder} exists and is not replaced; move it away or choose another place")


def check_replaceable(path: str | Path, recognise: Recognise = refuse) -> None:
    """Raise ``InputError`` unless ``path`` is absent, an empty folder, or one that ``recognise`` takes for ours."""
    folder = Path(path)
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise InputError(f"{folder} is not the folder of an earlier result and is not replaced; move it away")
    try:
        filled = any(folder.iterdir())
    except FileNotFoundError:
        return
    if filled:
        recognise(folder)


@contextmanager
def atomic_folder(path: str | Path, recognise: Recognise = refuse) -> Iterator[Path]:
    """An empty hidden folder beside ``path`` that takes its place on success.

    An older folder is replaced only if it is recognisably ours, and what else lies in it is kept: it moves over into
    the new one, under the name ``earlier_<name>`` where that has a file of the same name. The hidden folder has a name
    and an owner record of its own, as another process may be writing the same one.

    Args:
        path: of the folder.
        recognise: given an existing folder, says which of its files are ours; raises InputError when it is not ours.

    Raises:
        InputError: the older folder is not ours.
        OSError: the folder can't be written, or is full.
    """
    final, token = Path(path), uuid.uuid4().hex[:8]
    check_replaceable(final, recognise)
    partial = _signed(final, token)
    older: list[tuple[Path, IsOurs]] = []
    try:
        yield partial
        _replace(final, partial, token, recognise, older)
    except BaseException:
        if older and not final.exists():
            with suppress(OSError):  # nothing was moved away, or another process has put its own there
                os.replace(older[-1][0], final)
        raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)
        for old, is_ours in older:
            keep_foreign(old, final, is_ours)
        if (read_owner(final) or {}).get("token") == token:
            (final / OWNER).unlink(missing_ok=True)


def _signed(final: Path, token: str) -> Path:
    """The hidden folder, which has its owner record from the moment on that it is seen under its name."""
    made, partial = (final.with_name(f".{final.name}.{token}.{kind}") for kind in ("new", "partial"))
    try:
        made.mkdir(parents=True)
        sign(made, token)
        os.replace(made, partial)
    except BaseException:
        shutil.rmtree(made, ignore_errors=True)
        raise
    return partial


def _replace(
    final: Path, partial: Path, token: str, recognise: Recognise, older: list[tuple[Path, IsOurs]]
) -> None:  # fmt: skip
    """Put ``partial`` in place of ``final``, which moves away and is noted in ``older``.

    Renamed, not emptied: a run that is stopped here must not leave half of an older result.
    """
    for turn in range(100):
        old = final.with_name(f".{final.name}.{token}.{turn}.old")
        try:
            os.replace(final, old)
        except FileNotFoundError:
            pass
        else:
            older.append((old, _nothing))
            older[-1] = (old, _recognised(old, final, recognise))
        try:
            os.replace(partial, final)
            return
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST) or turn == 99:
                raise  # else another process has put its own there in between


def _nothing(name: str) -> bool:
    return name == OWNER


def _recognised(old: Path, final: Path, recognise: Recognise) -> IsOurs:
    """What is ours in a folder that was moved to ``old``; back it goes if none of it is."""
    if not any(old.iterdir()):
        return _nothing
    try:
        return recognise(old)
    except InputError as error:
        raise InputError(str(error).replace(str(old), str(final))) from error


def keep_foreign(old: Path, final: Path, is_ours: IsOurs) -> list[Path]:
    """Move what is not ours from ``old`` into ``final``, then remove ``old``; returns where things lie now.

    Nothing is removed when something can't be moved.
    """
    if not old.is_dir():
        return []
    try:
        kept = list(_moved(old, final, "", is_ours))
    except OSError:
        return []
    shutil.rmtree(old, ignore_errors=True)
    return kept


def _moved(old: Path, final: Path, inside: str, is_ours: IsOurs) -> Iterator[Path]:
    for entry in sorted(old.iterdir()):
        name, place = inside + entry.name, final / entry.name
        if entry.is_dir() and not entry.is_symlink():
            files = [file for file in entry.rglob("*") if file.is_symlink() or not file.is_dir()]
            ours = [file for file in files if _is_ours(f"{name}/{file.relative_to(entry).as_posix()}", is_ours)]
            if len(ours) == len(files) and files:
                continue
            if ours or place.is_dir():
                place.mkdir(parents=True, exist_ok=True)
                yield from _moved(entry, place, f"{name}/", is_ours)
                continue
        elif _is_ours(name, is_ours):
            continue
        place = free_name(place)
        place.parent.mkdir(parents=True, exist_ok=True)
        os.replace(entry, place)
        yield place


def _is_ours(name: str, is_ours: IsOurs) -> bool:
    return name == OWNER or is_ours(name)


def free_name(place: Path) -> Path:
    """``place``, or ``earlier_<name>`` beside it, numbered, where there is something already."""
    candidate, number = place, 1
    while candidate.exists() or candidate.is_symlink():
        candidate = place.with_name(f"earlier_{place.name}" if number == 1 else f"earlier_{number}_{place.name}")
        number += 1
    return candidate


def clear_file_leftovers(folder: Path, names: Collection[str]) -> None:
    """Remove the temporary files that killed processes of this machine left of the files ``names`` in ``folder``."""
    if not folder.is_dir():
        return
    for hidden in folder.iterdir():
        found = re.fullmatch(LEFTOVER_FILE, hidden.name)
        if found and found["name"] in names and hidden.is_file() and not is_running(found["mark"]):
            hidden.unlink(missing_ok=True)


def clear_folder_leftovers(folder: Path, names: Collection[str], recognise: Callable[[str], Recognise]) -> None:
    """Tidy up the hidden folders that stopped or killed processes left of the folders ``names`` in ``folder``.

    Those of processes that are still running stay. An older result that was moved away and whose place is empty goes
    back; what is not ours in it is never removed. A whole folder whose process was killed before it took its owner
    record out loses it.

    Args:
        folder: where they are.
        names: of the folders that were written.
        recognise: for each name, as ``atomic_folder`` has it.
    """
    if not folder.is_dir():
        return
    for hidden in sorted(folder.iterdir()):
        found = re.fullmatch(LEFTOVER, hidden.name)
        if not found or found["name"] not in names or not hidden.is_dir() or hidden.is_symlink():
            continue
        final = folder / found["name"]
        if found["kind"] == "old":
            if not _in_use(final, found["token"]):
                _restore(hidden, final, recognise(found["name"]))
        elif not is_owned(hidden) and (found["kind"] == "partial" or time.time() - hidden.stat().st_mtime > 60):
            shutil.rmtree(hidden, ignore_errors=True)
    for name in names:
        if read_owner(folder / name) is not None and not is_owned(folder / name):
            (folder / name / OWNER).unlink(missing_ok=True)


def _in_use(final: Path, token: str | None) -> bool:
    """Whether the process that moved an older folder away is still about it."""
    if token is None:
        return False
    partial = final.with_name(f".{final.name}.{token}.partial")
    return is_owned(partial) or ((read_owner(final) or {}).get("token") == token and is_owned(final))


def _restore(old: Path, final: Path, recognise: Recognise) -> None:
    if not final.exists():
        with suppress(OSError):
            os.replace(old, final)
        return
    try:
        is_ours = recognise(old)
    except InputError:
        is_ours = _nothing
    keep_foreign(old, final, is_ours)
