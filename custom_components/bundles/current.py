"""The config whose components are just being made.

MONAI gives a component its arguments and nothing of the config that they stand in. A result's record of what it was
made of, the check of keys and processes that build the same again need the whole, so from the import of this module on
``ConfigParser.get_parsed_content`` notes its parser in a context variable while it works.
"""

from __future__ import annotations

import inspect
from contextvars import ContextVar
from copy import deepcopy
from functools import wraps
from typing import Any

from monai.bundle import ConfigParser

RENAMED = "_warpzoo_renamed_keys"
CHANGED = "_warpzoo_changed_values"
_current: ContextVar[ConfigParser | None] = ContextVar("config being built", default=None)


def current_config() -> dict[str, Any] | None:
    """The raw config that is being built, overrides and included files in it; None outside a config."""
    parser = _current.get()
    return None if parser is None else parser.get()


def rename_keys(names: dict[str, str]) -> None:
    """Give values of the config that is being built to other keys, before anything but ``initialize`` is built.

    Args:
        names: present name of each key.
    """
    setattr(_current.get(), RENAMED, names)


def change_values(values: dict[str, Any]) -> None:
    """Give keys of the config that is being built other values, before anything but ``initialize`` is built."""
    setattr(_current.get(), CHANGED, values)


def _noting(get_parsed_content: Any) -> Any:
    @wraps(get_parsed_content)
    def noted(self: ConfigParser, *args: Any, **kwargs: Any) -> Any:
        for old, name in self.__dict__.pop(RENAMED, {}).items():
            self[name] = self.get().pop(old)
        for name, value in self.__dict__.pop(CHANGED, {}).items():
            self[name] = value
        token = _current.set(self)
        try:
            return get_parsed_content(self, *args, **kwargs)
        finally:
            _current.reset(token)

    return noted


def _building() -> ConfigParser | None:
    """The parser that is at work where the first component of a config is what imports this module.

    Only then the callers are looked through, once in a process: that call has begun before it could be noted.
    """
    frame = inspect.currentframe()
    while frame is not None:
        parser = frame.f_locals.get("self")
        if isinstance(parser, ConfigParser):
            return parser
        frame = frame.f_back
    return None


_current.set(_building())  # which is over when the same parser, or another, is asked again
ConfigParser.get_parsed_content = _noting(ConfigParser.get_parsed_content)


def build_arguments(config: dict[str, Any], component: str, names: tuple[str, ...]) -> dict[str, Any]:
    """The arguments ``names`` of a component, after the config's ``initialize``; nothing else of the config is made.

    Args:
        config: of a bundle, as ``current_config`` gives it.
        component: its key in the config.
        names: of the arguments.
    """
    parser = ConfigParser(deepcopy(config))
    parser.parse()
    if "initialize" in parser:
        parser.get_parsed_content("initialize")
    return {name: parser.get_parsed_content(f"{component}::{name}") for name in names}
