"""A bundle opened from anywhere, its keys checked: the one way in which this package reads and runs configs."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from monai.bundle import ConfigParser

from custom_components.bundles.aliases import present_name
from custom_components.bundles.checksums import verify
from custom_components.bundles.current import current_config
from custom_components.bundles.keys import check_keys, checked_values
from custom_components.bundles.literals import as_literal, literal, literals_in
from custom_components.bundles.places import find_bundle, root
from custom_components.common.errors import InputError

MACRO = "%"


@dataclass(frozen=True)
class Bundle:
    """An opened bundle.

    Attributes:
        folder: of the bundle.
        config: raw, with all files, fragments and overrides in it.
    """

    folder: Path
    config: Mapping[str, Any]

    @property
    def name(self) -> str:
        """Of the folder."""
        return self.folder.name

    def parser(self, **parts: Any) -> ConfigParser:
        """A parser of the config, from which components can be taken; ``parts`` replace components by objects."""
        parser = ConfigParser(deepcopy(dict(self.config)))
        parser.update({key: as_literal(key, part) for key, part in parts.items()})
        parser.parse()
        return parser

    def run(self, **parts: Any) -> None:
        """Do what ``python -m monai.bundle run`` does: ``initialize``, then ``run``, then ``finalize``."""
        parser = self.parser(**parts)
        for step in ("initialize", "run", "finalize"):
            if step in parser:
                parser.get_parsed_content(step)


def open_bundle(
    bundle: str | Path, config: str | Sequence[str] = "inference", strict: bool = True, **overrides: Any
) -> Bundle:
    """Open a bundle, wherever it and the current folder are.

    Args:
        bundle: name of one that WarpZoo brings, path of any, or one of its config files.
        config: name of the config, or several names or paths of which the later change the earlier.
        strict: refuse keys that nothing reads.
        overrides: values for keys of the config; ``a::b`` goes deeper. Paths and names, see ``literals``, are taken
            literally, whatever characters they have.

    Raises:
        InputError: there is no such bundle, config or key, or a value can't be meant.
    """
    values = {key: as_literal(key, value) for key, value in overrides.items()}
    return _opened(bundle, config, strict, values)


def _opened(bundle: str | Path, config: str | Sequence[str], strict: bool, overrides: Mapping[str, Any]) -> Bundle:
    """The bundle with values for keys as a YAML file has them."""
    folder = find_bundle(bundle)
    verify(folder)
    given = Path(bundle)
    names = [config] if isinstance(config, str) else list(config)
    if given.suffix in (".yaml", ".yml") and given.is_file() and names == ["inference"]:
        names = [str(given)]
    files = [_file(folder, name) for name in names]
    parser = ConfigParser(ConfigParser.load_config_files([str(file) for file in files]))
    raw = parser.get()
    if "evaluate.yaml" == files[0].name and "evaluator" not in raw:  # an overlay that runs alone
        first = ConfigParser.load_config_files([str(folder / "configs" / "inference.yaml")])
        parser = ConfigParser({**first, **{k: v for k, v in raw.items() if k not in ("run", "initialize", "imports")}})
    defaults = dict(parser.get())
    for named, value in overrides.items():
        key = present_name(named, defaults)
        try:
            parser.update({key: value})
        except (KeyError, IndexError, ValueError, TypeError) as error:
            raise InputError(f"{folder.name} has no key '{named}'") from error
    whole = resolved(parser.get(), find_base(folder))
    if strict:
        check_keys(whole, folder, f"{folder.name} ({', '.join(file.name for file in files)})", defaults)
    whole |= checked_values(whole, defaults)
    if isinstance(whole.get("bundle_root"), str) and whole["bundle_root"] in (".", defaults.get("bundle_root")):
        whole["bundle_root"] = literal(str(folder))
    return Bundle(folder, whole)


def run_config(file: str) -> None:
    """Run a whole config with the keys of the overlay that is being built, in which this stands as ``run``.

    Args:
        file: the config that the overlay changes.

    Raises:
        SystemExit: with one line about a key or value that is wrong, see ``check_current``.
    """
    overlay = current_config() or {}
    own = {key: value for key, value in overlay.items() if key not in ("imports", "initialize", "run", "_meta_")}
    try:
        opened = _opened(file, "inference", True, own | literals_in(own))
    except InputError as error:
        sys.exit(f"error: {error}")
    opened.run()


def find_base(folder: Path) -> Path:
    """The folder that ``%`` references of a bundle start from: two above it, or WarpZoo's own."""
    above = folder.parent.parent
    return above if (above / "configs").is_dir() and (above / "bundles").is_dir() else root()


def _file(folder: Path, name: str) -> Path:
    for file in (Path(name), folder / "configs" / name, folder / "configs" / f"{name}.yaml"):
        if file.suffix in (".yaml", ".yml", ".json") and file.is_file():
            return file
    there = ", ".join(sorted(file.stem for file in (folder / "configs").glob("*.yaml")))
    raise InputError(f"the bundle {folder.name} has no config '{name}'; it has {there}")


def resolved(config: Any, base: Path) -> Any:
    """The content of a config with the content of every ``%file::section`` in its place, however deep.

    Args:
        config: raw.
        base: folder that the references' paths start from.

    Raises:
        InputError: a file or section is missing.
    """
    if isinstance(config, dict):
        return {key: resolved(value, base) for key, value in config.items()}
    if isinstance(config, list):
        return [resolved(value, base) for value in config]
    path, ids = reference(config)
    if not path:
        return config
    file = Path(path) if Path(path).is_absolute() else base / path
    if not file.is_file() and Path(path).is_file():  # of the user's own, on the command line
        file = Path(path)
    if not file.is_file():
        raise InputError(f"{config} names {file}, which does not exist")
    try:
        section = ConfigParser(config=ConfigParser.load_config_file(file))[ids]
    except (KeyError, IndexError) as error:
        raise InputError(f"{config} names a section that does not exist") from error
    except yaml.YAMLError as error:
        raise InputError(f"{config}: {file} is not valid YAML ({error})") from error
    return resolved(deepcopy(section), base)


def reference(value: Any) -> tuple[str, str]:
    """(file, section) of a ``%`` reference to a file; two empty strings for anything else."""
    if not isinstance(value, str) or not value.startswith(MACRO):
        return "", ""
    path, ids = ConfigParser.split_path_id(value.removeprefix(MACRO))
    return (path, ids) if path else ("", "")
