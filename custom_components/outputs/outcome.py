"""What became of one pair, before it is written."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

from custom_components.common.errors import InputError, told_cause
from custom_components.inferers.result import Registration
from custom_components.pairs import Pair

Data = dict[Hashable, Any]


@dataclass(frozen=True)
class PairOutcome:
    """What an iteration leaves in ``engine.state.output``.

    Attributes:
        pair: what was registered.
        seconds: reading, preparing and registering.
        data: the prepared dictionary; None when the pair failed, or was registered by another process.
        registration: None likewise.
        reason: why it failed, or "".
        metrics: what was written as metrics.json; None before that.
        error: what was raised when it failed.
    """

    pair: Pair
    seconds: float
    data: Data | None = None
    registration: Registration | None = None
    reason: str = ""
    metrics: dict[str, Any] | None = None
    error: Exception | None = None


def failure_reason(error: BaseException, pair: Pair) -> str:
    """Why a pair failed, in words that name what it was about.

    MONAI's ``Compose`` wraps what a transform raises, so the cause is looked for along the chain of exceptions.
    """
    link = told_cause(error)
    names = f"{pair.moving.name} onto {pair.fixed.name}"
    if isinstance(link, InputError):  # names its file by itself
        return str(link)
    if link is not None:
        return f"{names}: {link}"
    while error.__cause__ is not None:
        error = error.__cause__
    return f"{names}: unexpected {type(error).__name__}: {error}"
