"""Files that a request names, none of them outside the folder that is served."""

from __future__ import annotations

from pathlib import Path

from custom_components.serving.errors import FORBIDDEN, NOT_FOUND, RequestError


def file_inside(folder: Path, name: str, parameter: str, follow_links: bool = False) -> Path:
    """The file ``name`` of ``folder``, links resolved.

    Args:
        folder: what is served.
        name: relative to it, as a request has it.
        parameter: of the request, for messages.
        follow_links: also where a link in the folder leads out of it.

    Raises:
        RequestError: the name leads out of the folder (403), or there is no such file (404).
    """
    parts = Path(name).parts
    if Path(name).is_absolute() or not parts or any(part.startswith(".") for part in parts):  # ".." and hidden ones
        raise RequestError(parameter, f"{name[:80]!r} is not the name of a file in the served folder", FORBIDDEN)
    try:
        found = (folder / name).is_file()
        real = (folder / name).resolve()
    except (OSError, ValueError):  # too long a name, a null byte
        found, real = False, folder
    if not found:
        raise RequestError(parameter, f"there is no file {name[:80]!r} in the served folder", NOT_FOUND)
    if not follow_links and not real.is_relative_to(folder.resolve()):
        raise RequestError(parameter, f"'{name}' is a link that leads out of the served folder", FORBIDDEN)
    return real
