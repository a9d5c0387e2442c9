"""Whether the keys of a config exist and their values are of the right kind, before anything is read or built."""

from __future__ import annotations

import difflib
import re
import sys
from collections.abc import Collection, Iterator, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

import yaml

from custom_components.bundles.aliases import EARLIER, present_name
from custom_components.bundles.checksums import verify
from custom_components.bundles.literals import literals_in
from custom_components.bundles.presets import with_presets
from custom_components.common import booleans
from custom_components.common.errors import InputError

REFERENCE = re.compile(r"[@%](\w+)")
NUMBER_OR_NULL = frozenset(
    {"micrometres_per_pixel", "level", "minimum_jacobian", "background_value", "stop_after_matches", "stage"}
)
FOLDERS = frozenset({"output_dir", "run_dir", "ckpt_dir", "bundle_root", "dataset_dir"})


def check_keys(config: Mapping[str, Any], folder: Path, named: str = "", known: Collection[str] = ()) -> None:
    """Raise ``InputError`` for a key that nothing reads, with the one that was perhaps meant.

    Args:
        config: raw, overrides in it.
        folder: of the bundle; the keys of all its configs are known.
        named: what a message calls the config.
        known: further keys.
    """
    found = {*known, *known_keys(folder)}
    if not found:  # no bundle of this form
        return
    used = {name for _, text in strings_in(config) for name in REFERENCE.findall(text)}
    for key in config:
        top = key.split("::")[0].split("#")[0]
        if top not in found and top not in used and not top.startswith("_"):
            raise InputError(f"{named or folder.name} has no key '{top}'{_hint(top, found)}")


def check_current() -> None:
    """Check keys and values of the config that is being built, if it is that of a bundle.

    Raises:
        SystemExit: with one line, as nothing else of MONAI's command line shows it alone.
    """
    from custom_components.bundles.current import change_values, current_config, rename_keys

    config = current_config()
    if config is None or "bundle_root" not in config:
        return
    folder = read_bundle_root(config)
    try:
        verify(folder)
    except InputError as error:
        sys.exit(f"error: {error}")
    renamed = {key: name for key in config if (name := present_name(key, config.keys() - {key})) != key}
    config = {renamed.get(key, key): value for key, value in config.items()}
    if renamed:
        rename_keys(renamed)
    literals = literals_in(config)
    if literals:
        change_values(literals)
    try:
        check_keys(config, folder)
        checked_values(config, _common_defaults(folder))
    except InputError as error:
        sys.exit(f"error: {error}")


def _common_defaults(folder: Path) -> dict[str, Any]:
    """Defaults of the keys that are of one kind in all configs of a bundle; which of them is run is not known here."""
    from custom_components.bundles.documented import documented_keys

    found: dict[str, list[Any]] = {}
    for file in folder.glob("configs/*.yaml"):
        for key in documented_keys(file):
            if key.default is not None:
                found.setdefault(key.name, []).append(key.default)
    return {name: values[0] for name, values in found.items() if len({type(value) for value in values}) == 1}


def read_bundle_root(config: Mapping[str, Any]) -> Path:
    """The folder that ``bundle_root`` of a raw config names."""
    stated = str(config.get("bundle_root", ""))
    if stated.startswith("$"):
        from monai.bundle import ConfigParser

        part = {key: config[key] for key in ("imports", "bundle_root") if key in config}
        stated = str(ConfigParser(deepcopy(part)).get_parsed_content("bundle_root"))
    return Path(stated)


def _hint(key: str, known: set[str]) -> str:
    close = [name for name in EARLIER.get(key, ()) if name in known] or difflib.get_close_matches(key, known, 1, 0.6)
    return f"; did you mean '{close[0]}'?" if close else ""


def known_keys(folder: Path) -> set[str]:
    """Top-level keys of all configs of a bundle."""
    found: set[str] = set()
    for file in folder.glob("configs/*.y*ml"):
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
        found |= set(content) if isinstance(content, dict) else set()
    return {key.lstrip("+~").split("::")[0] for key in found}


def checked_values(config: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """The entries of ``config`` that a command line has given in another form than meant, put right.

    Args:
        config: raw, overrides in it.
        defaults: the values as the YAML has them.

    Returns:
        The entries that change.

    Raises:
        InputError: a value that can't be meant, with the key's name.
    """
    with_presets({**defaults, **config})  # for what it may refuse
    usual = with_presets(defaults)
    changed = {}
    for key in defaults.keys() & config.keys():
        value = _checked(key, config[key], usual[key])
        if value is not config[key]:
            changed[key] = value
    return changed


def _checked(key: str, value: Any, default: Any) -> Any:
    if value is None or value == default or (isinstance(value, str) and value[:1] in ("$", "@", "%")):
        return value
    if isinstance(value, str) and value.strip().lower() in ("none", "null", "~"):
        return None
    if isinstance(default, bool):
        return booleans.parse_bool(value, key)
    if isinstance(default, int | float) or key in NUMBER_OR_NULL:
        return _number(key, value, isinstance(default, int))
    if isinstance(default, list):
        if not isinstance(value, list | tuple):
            raise InputError(f"--{key} is a list such as {default}, got '{value}'")
        return value
    if isinstance(value, bool | int | float) and isinstance(default, str) and key in FOLDERS:
        # such as 2024_01, which reached us as 202401
        raise InputError(f"--{key} was read as the number {value}; put a ./ before the folder's name")
    if isinstance(value, int | float) and key in TEXT:
        return str(value)
    return value


TEXT = frozenset({
    "id", "note", "status", "moving", "fixed", "pairs", "output_ext", "moving_landmarks", "fixed_landmarks",
    "moving_annotations", "moving_labels", "fixed_labels", "moving_mask", "fixed_mask",
    "point_space",
})  # fmt: skip


def _number(key: str, value: Any, whole: bool) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise InputError(f"--{key} is a number, got '{value}'")
    try:
        number = float(value)
    except ValueError:
        raise InputError(f"--{key} is a number, got '{value}'") from None
    if number != number:
        raise InputError(f"--{key} is a number, got '{value}'")
    if isinstance(value, str):
        return int(number) if whole and number == int(number) else number
    return value


def strings_in(config: Any, inside: str = "") -> Iterator[tuple[str, str]]:
    """(key, text) of every text in a config, however deep; the key is ``a::b::0``."""
    if isinstance(config, str):
        yield inside, config
    elif isinstance(config, Mapping | list | tuple):
        items = config.items() if isinstance(config, Mapping) else enumerate(config)
        for key, value in items:
            yield from strings_in(value, f"{inside}::{key}" if inside else str(key))
