"""JSON that a client sent: an object, not nested without end, its text all Unicode."""

from __future__ import annotations

import json
from typing import Any

from custom_components.serving.errors import RequestError
from custom_components.serving.messages import short

DEPTH = 100  # GeoJSON needs about 10; a deeper nesting would end Python's stack somewhere later


def parse_object(name: str, text: str | bytes) -> dict[str, Any]:
    """The JSON object of a field or body; none is an empty one.

    Args:
        name: of the field, for messages.
        text: as it was sent.

    Raises:
        RequestError: it is not valid JSON, is nested too deep, holds half a character, or is not an object.
    """
    try:
        found = json.loads(text or "{}")
    except RecursionError:
        raise RequestError(name, f"is nested deeper than {DEPTH} levels") from None
    except ValueError as error:  # UnicodeDecodeError too, and numbers of more than 4300 digits
        raise RequestError(name, f"is not valid JSON: {short(str(error))}") from None
    if not isinstance(found, dict):
        raise RequestError(name, f'is a JSON object such as {{"fixed": "HE"}}, got {short(repr(found))}')
    check_values(name, found)
    return found


def check_values(name: str, value: Any) -> None:
    """Raise ``RequestError`` for what can't be written again: too deep a nesting, half a surrogate pair."""
    waiting = [(value, 1)]
    while waiting:
        part, depth = waiting.pop()
        if isinstance(part, str):
            try:
                part.encode("utf-8")
            except UnicodeEncodeError:
                raise RequestError(name, "holds half a surrogate pair, which is no character") from None
        elif isinstance(part, dict | list):
            if depth > DEPTH:
                raise RequestError(name, f"is nested deeper than {DEPTH} levels")
            parts = part if isinstance(part, list) else [*part, *part.values()]
            waiting.extend((each, depth + 1) for each in parts if isinstance(each, str | dict | list))
