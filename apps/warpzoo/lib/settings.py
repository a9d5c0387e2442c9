"""The app's part of ``--conf``."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from custom_components.common.errors import InputError

TEXTS = ("models", "fixed", "results", "follow_links", "device")
# of MONAI Label's own sample apps: nothing is downloaded here, and nothing trained
IGNORED = (
    "zoo_source", "zoo_repo", "auth_token", "sam2", "skip_trainers", "skip_scoring", "skip_strategies", "server_mode",
)  # fmt: skip


@dataclass(frozen=True)
class Number:
    """A whole number among the settings."""

    default: int
    least: int
    most: int


NUMBERS = {
    "time_limit": Number(3600, 1, 7 * 24 * 3600),  # seconds of a registration
    "max_waiting": Number(32, 1, 1000),  # requests
    "keep_tickets": Number(500, 1, 100_000),
    "upload_limit": Number(4096, 1, 1_000_000),  # MB
}


def read_texts(conf: dict[str, str]) -> dict[str, str]:
    """Every setting that is a text, "" where it is not given; follow_links is "false" then.

    Raises:
        InputError: a key that nothing reads.
    """
    unknown = [key for key in conf if key not in (*TEXTS, *NUMBERS, *IGNORED)]
    if unknown:
        raise InputError(f"'{unknown[0]}' is not known; known are {', '.join((*TEXTS, *NUMBERS))}")
    return {key: conf.get(key, "") for key in TEXTS} | {"follow_links": conf.get("follow_links", "false")}


def read_numbers(conf: dict[str, str]) -> dict[str, int]:
    """Every setting that is a number.

    Raises:
        InputError: a value that is none, or too small or large a one.
    """
    found = {}
    for name, number in NUMBERS.items():
        text = str(conf.get(name) or number.default)
        if not text.isdecimal() or not number.least <= int(text) <= number.most:
            raise InputError(f"{name} is a whole number from {number.least} to {number.most}, got '{text}'")
        found[name] = int(text)
    return found


def check_device(name: str) -> None:
    """Raise ``InputError`` unless the name is empty or that of a device that is there."""
    try:
        torch.empty(0, device=name or None)
    except (RuntimeError, AssertionError) as error:
        raise InputError(f"device '{name}': {str(error).splitlines()[0]}") from error
