"""What of a command line would run as code: said and refused, unless the user says that it is trusted."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from custom_components.bundles.literals import NAMES
from custom_components.bundles.places import find_bundle, names, root
from custom_components.common.errors import InputError

CODE = ("$", "%")  # an expression of Python; a section of another file, which may hold some
BUNDLES = {"train": 0}  # commands whose argument of this number is a bundle
WAY = "if you know what it does, --trust true runs it"


def check_trusted(command: str, places: tuple[str, ...], chosen: Mapping[str, str], options: Mapping[str, Any]) -> None:
    """Refuse values that are code, and bundles that WarpZoo does not bring, whose configs are.

    Args:
        command: name of the command.
        places: its arguments without a name.
        chosen: ``method``, or ``config`` of a training.
        options: as they were given, by name; ``a::b`` of deeper keys.

    Raises:
        InputError: with what is code and the way out.
    """
    if not chosen and command not in BUNDLES:
        return  # the rest read no config, and a name may begin with anything
    for key, value in options.items():
        if "_target_" in key.split("::") or key.split("::")[0] == "imports":
            raise InputError(f"--set {key} chooses what code is run, with your rights; {WAY}")
        if key not in NAMES:
            for text in _code_in(value):
                raise InputError(f"--{key} '{text[:60]}' is code, which runs with your rights; {WAY}")
    if command in BUNDLES or "method" in chosen:
        bundle = chosen["method"] if "method" in chosen else places[BUNDLES[command]]
        folder = find_bundle(bundle)
        if folder.name not in names() or folder.resolve() != (root() / "bundles" / folder.name).resolve():
            raise InputError(
                f"the bundle {folder} is not one that WarpZoo brings: its configs and modules are code, which runs "
                f"with your rights; {WAY}"
            )
    config = Path(chosen.get("config", ""))
    if config.suffix in (".yaml", ".yml", ".json") and config.is_file():
        raise InputError(f"the config {config} is code, which runs with your rights; {WAY}")


def _code_in(value: Any) -> Iterator[str]:
    """Texts in a value that would be evaluated, however deep; ``$None``, ``$3`` and other constants are none."""
    if isinstance(value, str):
        if value.startswith(CODE) and not _is_constant(value):
            yield value
    elif isinstance(value, Mapping):
        for key, part in value.items():
            if key == "_target_":
                yield f"_target_: {part}"
            yield from _code_in(part)
    elif isinstance(value, list | tuple):
        for part in value:
            yield from _code_in(part)


def _is_constant(text: str) -> bool:
    try:
        ast.literal_eval(text.removeprefix("$").strip())
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return False
    return text.startswith("$")
