"""Switches of the command line: MONAI gives `--report false` as the string "false", which is true in Python."""

from __future__ import annotations

from custom_components.common.errors import InputError

WORDS = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}


def parse_bool(value: bool | int | str, name: str = "a switch") -> bool:
    """Whether a switch is on.

    Args:
        value: a truth value, or one of the words for it in any case.
        name: what the message calls the switch.

    Raises:
        InputError: a word that is neither.
    """
    if isinstance(value, str):
        if value.strip().lower() not in WORDS:
            raise InputError(f"{name} is true or false, got '{value}'")
        return WORDS[value.strip().lower()]
    return bool(value)
