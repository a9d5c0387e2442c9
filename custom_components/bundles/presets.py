"""Values that follow from one key of a config, such as ``quality``."""

from __future__ import annotations

import difflib
from typing import TypeVar

from custom_components.common.errors import InputError

Value = TypeVar("Value")


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
