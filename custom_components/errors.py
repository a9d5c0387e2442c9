"""The two ways a registration ends early; both carry a message for the person at the keyboard."""

from __future__ import annotations


class InputError(ValueError):
    """A file, table or argument of the user is wrong; the message names it, the value and the way out."""


class RegistrationError(RuntimeError):
    """Both images could be read but not be registered; the message says what was measured and why it is refused."""
