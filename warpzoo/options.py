"""The options of each command, without importing what does the work: from YAML comments and docstrings."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from custom_components.bundles.documented import documented_keys
from custom_components.bundles.keys import FOLDERS, TEXT
from custom_components.bundles.places import HERE, find_bundle
from custom_components.common.errors import InputError

CARRIED = frozenset({"image", "points", "geojson", "output"})  # files of `warpzoo apply`


@dataclass(frozen=True)
class Option:
    """An option of a command.

    Attributes:
        name: without dashes.
        default: its value when it is left out.
        meaning: in words.
        group: heading that it stands under.
    """

    name: str
    default: Any
    meaning: str
    group: str = ""


def of_bundle(bundle: str, config: str = "inference", without: Sequence[str] = ()) -> list[Option]:
    """The documented keys of a bundle's config.

    Raises:
        InputError: there is no such bundle or config.
    """
    folder = find_bundle(bundle)
    file = folder / "configs" / f"{config}.yaml"
    if not file.is_file():
        there = ", ".join(sorted(path.stem for path in file.parent.glob("*.yaml")))
        raise InputError(f"the bundle {folder.name} has no config '{config}'; it has {there}")
    found = []
    for key in documented_keys(file):
        if key.name not in without:
            title = "" if key.section.startswith(("Register", "Every", "or a", "The images", "---")) else key.section
            found.append(Option(key.name, key.default, key.meaning, title))
    return found


def of_function(module: str, name: str, without: Sequence[str] = ()) -> list[Option]:
    """The arguments of a function with what its docstring says of them, from the source alone.

    Args:
        module: dotted name, ``custom_components.commands.apply``.
        name: of the function.
        without: arguments that are left out.
    """
    path = HERE.joinpath(*module.split("."))
    file = path / "__main__.py" if path.is_dir() else path.with_suffix(".py")
    tree = ast.parse(file.read_text(encoding="utf-8"))
    function = next(node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == name)
    meanings = _argument_docs(ast.get_docstring(function) or "")
    names = [argument.arg for argument in function.args.args]
    defaults = [None] * (len(names) - len(function.args.defaults)) + [
        ast.literal_eval(node) if isinstance(node, ast.Constant) else None for node in function.args.defaults
    ]
    return [
        Option(name, default, meanings.get(name, ""))
        for name, default in zip(names, defaults, strict=True)
        if name not in without
    ]


def _argument_docs(text: str) -> dict[str, str]:
    """What the section Args of a Google docstring says, by argument."""
    found: dict[str, str] = {}
    inside, current = False, ""
    for line in text.splitlines():
        if line.strip() in ("Args:", "Returns:", "Raises:", "Yields:"):
            inside = line.strip() == "Args:"
        elif inside and line.startswith("    ") and not line.startswith("        ") and ":" in line:
            current, _, meaning = line.strip().partition(":")
            found[current] = meaning.strip()
        elif inside and current and line.strip():
            found[current] += " " + line.strip()
    return found


def parse_value(option: Option, text: str | None) -> Any:
    """What an argument's text means: text stays text for names, paths and words, all else is read as YAML."""
    if text is None or text.lower() in ("null", "none"):
        return None
    default = option.default
    plain = option.name in TEXT | FOLDERS | CARRIED or (isinstance(default, str) and not default.startswith("$"))
    if plain or text[:1] in ("$", "@", "%"):
        return text
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        return text
    return value if isinstance(value, bool | int | float | list | dict) else text
