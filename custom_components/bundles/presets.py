"""Values that follow from one key of a config, such as ``quality``.

In the YAML: ``working_size: "$presets.pick(@quality, fast=768, best=2048)"``. A ``working_size`` that is given wins.
"""

from __future__ import annotations

import ast
import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from custom_components.common.errors import InputError

Value = TypeVar("Value")
CALL = re.compile(r"\$presets\.pick\(@(?P<key>\w+), (?P<values>.*)\)", re.DOTALL)


def pick(chosen: str, **values: Value) -> Value:
    """The value of the preset ``chosen``.

    Raises:
        InputError: there is no such preset.
    """
    if chosen not in values:
        close = difflib.get_close_matches(str(chosen), values, 1)
        hint = f"did you mean '{close[0]}'?" if close else f"there are {', '.join(values)}"
        raise InputError(f"unknown preset '{chosen}'; {hint}")
    return values[chosen]


@dataclass(frozen=True)
class Presets:
    """What a key is set to by another one.

    Attributes:
        key: that chooses.
        values: by its words.
    """

    key: str
    values: Mapping[str, Any]


def read_presets(value: Any) -> Presets | None:
    """The presets that a raw value of a config picks from; None for any other value."""
    found = CALL.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        return None
    call = ast.parse(f"dict({found['values']})", mode="eval").body
    assert isinstance(call, ast.Call)
    return Presets(found["key"], {str(word.arg): ast.literal_eval(word.value) for word in call.keywords})


def with_presets(config: Mapping[str, Any]) -> dict[str, Any]:
    """The top level of a raw config with the values that it picks in place of the choice, where the word is known yet.

    Raises:
        InputError: a key has a word that is none of its presets.
    """
    found = {}
    for key, value in config.items():
        presets = read_presets(value)
        word = config.get(presets.key, "@") if presets else "@"
        if presets is not None and not str(word).startswith(("$", "@", "%")):
            try:
                value = pick(word, **presets.values)
            except InputError as error:
                raise InputError(f"--{presets.key}: {error}") from None
        found[key] = value
    return found
