"""The part of the package that a bundle uses, found by its imports and copied beside the configs."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from custom_components.common.errors import InputError

PACKAGE = "custom_components"
# The zoo's name for a bundle's own code. Another one than PACKAGE, so that an installed WarpZoo of another version is
# never taken for it; MONAI Label forgets exactly this module when it goes from one bundle to the next.
VENDORED = "scripts"
ROOT = Path(__file__).resolve().parents[1]


def names_in(text: str) -> set[str]:
    """Dotted names inside the package that a text mentions: targets, imports, commands."""
    return set(re.findall(rf"\b{PACKAGE}(?:\.\w+)+", text))


def find_modules(names: Iterable[str]) -> set[Path]:
    """Files of the modules that dotted names lie in, and of all modules of the package that these import.

    A name's packages count too, since importing the name runs them.

    Raises:
        InputError: a name lies in no module of the package.
    """
    waiting, found = set(names), set[Path]()
    while waiting:
        name = waiting.pop()
        files = set(_files(name))
        if not files and name != PACKAGE:
            raise InputError(f"{name} is in no module of {ROOT}")
        for file in files - found:
            waiting |= {imported for imported in imports(file) if imported.split(".")[0] == PACKAGE}
        found |= files
    return found


def _files(name: str) -> Iterator[Path]:
    """The files of the name's packages and module, as deep as they go."""
    folder = ROOT
    for part in name.split(".")[1:]:
        if (folder / part / "__init__.py").is_file():
            folder = folder / part
            yield folder / "__init__.py"
            continue
        if (folder / f"{part}.py").is_file():
            yield folder / f"{part}.py"
        return


def imports(file: Path, at_import: bool = False) -> set[str]:
    """Dotted names that a module imports; of ``from a import b`` it is ``a.b``.

    Args:
        file: of the module.
        at_import: only what importing the module needs, not what its functions import when they are called.
    """
    tree = ast.parse(file.read_text())
    nodes: Iterable[ast.AST] = tree.body if at_import else ast.walk(tree)
    found = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def foreign_packages(files: Iterable[Path]) -> set[str]:
    """Top-level packages outside the standard library that importing these modules needs."""
    tops = {name.split(".")[0] for file in files for name in imports(file, at_import=True)}
    return tops - sys.stdlib_module_names - {PACKAGE}


def renamed(text: str) -> str:
    """A text with the package's name in the packed bundle."""
    return re.sub(rf"\b{PACKAGE}\b", VENDORED, text)


def data_files(modules: Iterable[Path]) -> set[Path]:
    """Files without code, such as templates, in the packages of these modules."""
    packages = {file.parent for file in modules if file.name == "__init__.py"}
    found = set()
    for package in packages:
        for file in package.rglob("*"):
            owner = next(folder for folder in file.parents if (folder / "__init__.py").is_file())
            if file.is_file() and file.suffix not in (".py", ".pyc", ".typed") and owner == package:
                found.add(file)
    return found
