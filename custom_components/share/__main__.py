"""Command line of ``custom_components.share``."""

from __future__ import annotations

import sys

import fire

from custom_components.common.errors import InputError
from custom_components.common.stopping import stopped_by_signals
from custom_components.share import pack, push


def main() -> None:
    """Command line; a wrong file gives one line and exit code 1."""
    try:
        with stopped_by_signals():
            fire.Fire({"pack": pack, "push": push})
    except InputError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
