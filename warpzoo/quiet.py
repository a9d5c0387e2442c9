"""What libraries say goes into the log; the console is for what the user can act on."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from custom_components.common.console import LOG


def libraries(verbose: bool = False) -> None:
    """Keep warnings and log messages of libraries off the console, unless ``verbose``."""
    logging.captureWarnings(True)
    root = logging.getLogger()
    root.handlers.clear()
    root.setLevel(logging.INFO)
    if verbose:
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("%(name)s: %(message)s"))
        root.addHandler(handler)
    else:
        root.addHandler(logging.NullHandler())
    warnings.simplefilter("default")


@contextmanager
def logged(folder: Path) -> Iterator[Path]:
    """While it lasts, everything that is logged goes into ``warpzoo.log`` of ``folder``, which is made with it."""
    file = folder / LOG
    folder.mkdir(parents=True, exist_ok=True)
    handler = logging.FileHandler(file, encoding="utf-8", delay=True)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.getLogger().addHandler(handler)
    try:
        yield file
    finally:
        logging.getLogger().removeHandler(handler)
        handler.close()
