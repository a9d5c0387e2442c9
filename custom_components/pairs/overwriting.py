"""Files that the user names: never written over an input, nor over another file unless that is asked for."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from custom_components.common.errors import InputError
from custom_components.pairs.zarr_form import is_zarr, is_zarr_name


def check_output_file(output: str | Path, inputs: Iterable[str | Path | None], overwrite: bool = False) -> None:
    """Raise before the work rather than after it.

    Args:
        output: the file that would be written.
        inputs: what is read; None is passed over.
        overwrite: an existing file may be replaced.

    Raises:
        InputError: ``output`` is an input or a folder, or exists and may not be replaced.
    """
    path = Path(output)
    for file in inputs:
        if file is not None and same_file(path, Path(file)):
            raise InputError(f"{path} is an input and is not written over; name another file")
    if path.is_dir() and not (is_zarr_name(path) and is_zarr(path)):
        raise InputError(f"{path} is a folder; name a file")
    if not overwrite and (path.exists() or path.is_symlink()):
        raise InputError(f"{path} exists already; name another file, or replace it with --overwrite")


def same_file(first: Path, second: Path) -> bool:
    """Whether two paths lead to one file, over links too; one that does not exist is told by its path."""
    try:
        return first.samefile(second)
    except OSError:
        return first.resolve() == second.resolve()
