"""What is closed where a ``with`` statement ends."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any


class Closing(ABC):
    """Closed where a ``with`` statement ends."""

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @abstractmethod
    def close(self) -> None:
        """Give the file back."""
