"""What a server answers when a request is wrong."""

from __future__ import annotations

from custom_components.common.errors import InputError

BAD_REQUEST, FORBIDDEN, NOT_FOUND, UNREADABLE = 400, 403, 404, 422


class RequestError(InputError):
    """A parameter of a request is wrong.

    Attributes:
        parameter: its name, with which the message begins.
        status: of HTTP.
    """

    def __init__(self, parameter: str, message: str, status: int = BAD_REQUEST) -> None:
        super().__init__(f"{parameter}: {message}")
        self.parameter = parameter
        self.status = status
