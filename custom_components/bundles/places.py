"""Where the bundles are: in a checkout beside the package, in an installed wheel inside of ``warpzoo``."""

from __future__ import annotations

import difflib
from pathlib import Path

from custom_components.common.errors import InputError

DEFAULT = "histology_registration"
HERE = Path(__file__).resolve().parents[2]  # the checkout, or the folder of installed packages


def root() -> Path:
    """The folder that holds ``bundles/`` and ``configs/``.

    Raises:
        InputError: the package was installed without its bundles.
    """
    for folder in (HERE, HERE / "warpzoo"):
        if (folder / "bundles" / DEFAULT / "configs" / "inference.yaml").is_file():
            return folder
    raise InputError(f"no bundles beside {HERE}; install warpzoo again")


def names() -> list[str]:
    """Names of the bundles that WarpZoo brings, the recommended one first."""
    found = sorted(path.parents[1].name for path in (root() / "bundles").glob("*/configs/inference.yaml"))
    return sorted(found, key=lambda name: name != DEFAULT)


def folder(name: str) -> str:
    """Path of the bundle ``name`` that WarpZoo brings, for the key ``bundle_root`` of its configs."""
    return str(root() / "bundles" / name)


def find_bundle(bundle: str | Path) -> Path:
    """A bundle's folder, from its name or path or any file below its ``configs``; of another config, where it lies.

    Raises:
        InputError: there is no such bundle.
    """
    path = Path(bundle)
    for candidate in (path, *path.parents[:2]):
        if (candidate / "configs" / "inference.yaml").is_file():
            return candidate.resolve()
    if path.suffix in (".yaml", ".yml", ".json"):
        if not path.is_file():
            raise InputError(f"config file {path} does not exist")
        return path.resolve().parent
    # a path as in the documentation, which starts at the root of the repository
    known, wanted = names(), path.name
    if wanted in known and path.parent.as_posix() in (".", "bundles"):
        return Path(folder(wanted))
    close = difflib.get_close_matches(wanted, known, 1)
    hint = f"did you mean '{close[0]}'?" if close else f"there are {', '.join(known)}"
    raise InputError(f"unknown bundle '{bundle}', neither a folder with configs/inference.yaml nor by name; {hint}")
