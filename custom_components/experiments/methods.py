"""Methods and options as the command line gives them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from custom_components.bundles import folder
from custom_components.common.errors import InputError

CONFIGS = Path(folder("semantic_similarity")) / "configs"


@dataclass(frozen=True)
class Method:
    """A similarity to train with.

    Attributes:
        name: in the table.
        overrides: of train.yaml, or of evaluate.yaml where nothing is trained.
        trained: whether there is a network.
    """

    name: str
    overrides: Mapping[str, Any]
    trained: bool = True


def parse_method(text: str) -> Method:
    """A method as the command line gives it, see above.

    Raises:
        InputError: not of this form.
    """
    classical = re.fullmatch(r"(syn(?:-\w+)?)(?:=(.+))?", text)
    if classical is not None:
        return Method(classical[1], {"extractor": classical[2]}, trained=False)
    found = re.fullmatch(r"([a-z]+)(-\w+)?(@\d+)?(\+sup)?:([0-9.e-]+)(?:=(.+))?", text)
    if found is None:
        raise InputError(f"method '{text}' is not of the form similarity[-name][@levels][+sup]:lambda[=extractor]")
    similarity, kind, levels, supervised, smoothness, extractor = found.groups()
    overrides: dict[str, Any] = {
        "similarity": similarity, "regularization_weight": float(smoothness), "extractor": extractor,
    }  # fmt: skip
    if levels:
        overrides["levels"] = [int(digit) for digit in levels[1:]]
    if supervised:
        overrides["supervision"] = 1.0
    return Method(similarity + (kind or "") + (levels or "") + (supervised or ""), overrides)


def parse_options(text: str) -> dict[str, Any]:
    """``key=value`` pairs divided by spaces, values as YAML.

    Raises:
        InputError: a word without an equals sign.
    """
    words = text.split()
    wrong = [word for word in words if "=" not in word]
    if wrong:
        raise InputError(f"an option is key=value, got '{wrong[0]}'")
    return {key: yaml.safe_load(value) for key, value in (word.split("=", 1) for word in words)}


def read_keys(config: Path) -> set[str]:
    """The keys that a config can be overridden in."""
    return set(yaml.safe_load(config.read_text()))
