"""What each command does; imported when one is run, not for help."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from custom_components.bundles import open_bundle
from custom_components.bundles.literals import literal_text


def register(places: tuple[str, ...], method: str, options: Mapping[str, Any]) -> None:
    """Register one image onto another."""
    moving, fixed = places
    _run(method, "inference", {**options, "moving": moving, "fixed": fixed})


def cohort(places: tuple[str, ...], method: str, options: Mapping[str, Any]) -> None:
    """Register the pairs of a table."""
    _run(method, "inference", {**options, "pairs": places[0]})


def evaluate(places: tuple[str, ...], method: str, options: Mapping[str, Any]) -> None:
    """Register the pairs of a table anew and write the challenge's form."""
    _run(method, "evaluate", {**options, "pairs": places[0]})


def _run(method: str, config: str, options: Mapping[str, Any]) -> None:
    from warpzoo.progress import showing

    opened = open_bundle(method, config, **options)
    with showing(Path(str(literal_text(opened.config["output_dir"]))), opened):
        opened.run()


def apply(places: tuple[str, ...], options: Mapping[str, Any]) -> None:
    """Carry something else over with a result."""
    from custom_components.commands.apply import apply

    print(apply(places[0], **options))


def series(places: tuple[str, ...], method: str, options: Mapping[str, Any]) -> None:
    """Bring several sections into one frame."""
    from custom_components.series.__main__ import series as align

    images: Any = places[0] if len(places) == 1 else list(places)
    print(align(images, bundle=method, **options))


def view(places: tuple[str, ...], options: Mapping[str, Any]) -> None:
    """Write the zooming viewer of a result."""
    from custom_components.commands.view import view as write

    print(write(places[0], **options))


def report(places: tuple[str, ...]) -> None:
    """Say how good a result is and where its page is."""
    import warpzoo
    from custom_components.handlers.writing import format_line

    result = warpzoo.open(places[0])
    print(format_line(dict(result.metrics)))
    print(f"report: {result.report()}")


def train(places: tuple[str, ...], config: str, options: Mapping[str, Any]) -> None:
    """Train a bundle's networks."""
    opened = open_bundle(places[0], config, **options)
    opened.run()


def pack(places: tuple[str, ...], options: Mapping[str, Any]) -> None:
    """Write the self-contained form of a bundle."""
    from custom_components.bundles import find_bundle
    from custom_components.share import pack as write

    print(write(str(find_bundle(places[0])), **options))


def doctor() -> int:
    """Say what is installed and whether it works; the exit code is 1 where something needed is missing."""
    from warpzoo.doctor import examine

    return examine(sys.stdout)
