"""Bundles: where they are, what keys they have, and how one is opened."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from custom_components.bundles.places import find_bundle, folder, names, root

if TYPE_CHECKING:
    from custom_components.bundles.current import current_config
    from custom_components.bundles.opening import Bundle, open_bundle, run_config

__all__ = ["Bundle", "current_config", "find_bundle", "folder", "names", "open_bundle", "root", "run_config"]
LATER = {"Bundle": "opening", "open_bundle": "opening", "run_config": "opening", "current_config": "current"}


def __getattr__(name: str) -> Any:
    """What needs MONAI is imported when it is asked for, so that help does not wait for it."""
    if name not in LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(f"{__name__}.{LATER[name]}"), name)
