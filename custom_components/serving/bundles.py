"""The bundles that a server can offer."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from custom_components.bundles.presets import with_presets
from custom_components.common.errors import InputError


@dataclass(frozen=True)
class Bundle:
    """A method as a folder.

    Attributes:
        name: of the folder.
        config: its inference.yaml.
        description: of its metadata.
        defaults: top-level entries of the config, those of the usual preset in place of choices between presets.
    """

    name: str
    config: Path
    description: str
    defaults: Mapping[str, Any]


def find_bundles(folder: Path, wanted: Iterable[str] = ()) -> dict[str, Bundle]:
    """Bundles below ``folder`` by name: the wanted ones, or all.

    Raises:
        InputError: there are none, or one that is wanted is not there.
    """
    present = sorted(path.parents[1].name for path in folder.glob("*/configs/inference.yaml"))
    if not present:
        raise InputError(f"there are no bundles in {folder}")
    names = list(wanted) or present
    unknown = [name for name in names if name not in present]
    if unknown:
        raise InputError(f"unknown model '{unknown[0]}'; there are {', '.join(present)}")
    return {name: _bundle(folder / name) for name in names}


def _bundle(folder: Path) -> Bundle:
    config = folder / "configs" / "inference.yaml"
    metadata = json.loads((folder / "configs" / "metadata.json").read_text())
    return Bundle(folder.name, config, metadata["description"], with_presets(yaml.safe_load(config.read_text())))
