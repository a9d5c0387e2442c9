"""A bundle's config as Python gets at its parts."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from monai.bundle import ConfigParser

from custom_components.errors import InputError


def read_bundle(config: str, overrides: Mapping[str, Any]) -> ConfigParser:
    """A bundle's config, its keys overridden; run from the repository's root, as bundles are.

    Raises:
        InputError: no such file, or a key that it does not have.
    """
    if not Path(config).is_file():
        raise InputError(f"config file {config} does not exist; run from the repository's root")
    parser = ConfigParser()
    parser.read_config(config)
    unknown = [key for key in overrides if key.split("::")[0] not in parser.config]
    if unknown:
        raise InputError(f"{config} has no key '{unknown[0]}'")
    parser.update(dict(overrides))
    parser.parse()
    return parser
