"""The config of a bundle, for processes that build parts of it again."""

from __future__ import annotations

import inspect
from copy import deepcopy
from typing import Any

from monai.bundle import ConfigParser


def config_being_built() -> dict[str, Any] | None:
    """The config whose component is just being made, overrides and included files in it; None outside a config.

    MONAI gives a component its arguments and nothing of the config that they stand in, so the parser is looked for
    among the callers.
    """
    frame = inspect.currentframe()
    while frame is not None:
        parser = frame.f_locals.get("self")
        if isinstance(parser, ConfigParser):
            config: dict[str, Any] = parser.get()
            return config
        frame = frame.f_back
    return None


def build_arguments(config: dict[str, Any], component: str, names: tuple[str, ...]) -> dict[str, Any]:
    """The arguments ``names`` of a component, after the config's ``initialize``; nothing else of the config is made.

    Args:
        config: of a bundle, as ``config_being_built`` gives it.
        component: its key in the config.
        names: of the arguments.
    """
    parser = ConfigParser(deepcopy(config))
    parser.parse()
    if "initialize" in parser:
        parser.get_parsed_content("initialize")
    return {name: parser.get_parsed_content(f"{component}::{name}") for name in names}
