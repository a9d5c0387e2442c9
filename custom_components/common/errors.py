"""The two ways a registration ends early; both carry a message for the person at the keyboard."""

from __future__ import annotations


class InputError(ValueError):
    """A file, table or argument of the user is wrong; the message names it, the value and the way out."""


class RegistrationError(RuntimeError):
    """Both images could be read but not be registered; the message says what was measured and why it is refused."""


def told_cause(error: BaseException | None) -> InputError | RegistrationError | None:
    """The error with a message for the user that ``error`` came of; MONAI wraps what its components raise."""
    while error is not None and not isinstance(error, InputError | RegistrationError):
        error = error.__cause__
    return error
