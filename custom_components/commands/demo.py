"""``make demo``: register a pair with a known answer, or two images of the user's, and say how it went."""

from __future__ import annotations

import itertools
import sys
from pathlib import Path
from typing import Any

import fire

from custom_components.bundles import open_bundle
from custom_components.bundles.places import DEFAULT
from custom_components.common.errors import InputError
from custom_components.common.stopping import stopped_by_signals
from custom_components.outputs.identity import other_images
from custom_components.pairs import Pair
from custom_components.pairs.demo import write_demo_pair
from custom_components.pairs.table import derived_id
from custom_components.results.record import find_metrics, read_metrics

NOTE = (
    "Half real, half made: the fixed image is a real immunohistochemistry section; the moving one is its haematoxylin "
    "alone, by colour deconvolution, turned by 25 degrees and bent by a known smooth field. The landmarks are exact."
)


def demo(output_dir: str = "out", moving: str | None = None, fixed: str | None = None) -> None:
    """Register the demo pair into ``<output_dir>/demo``, or ``moving`` onto ``fixed`` into a folder of their names.

    Where that is the result of other images it is numbered.

    Args:
        output_dir: made if absent.
        moving: an image of the user's; with ``fixed``, instead of the demo pair.
        fixed: an image of the user's.
    """
    root = Path(output_dir)
    if (moving is None) != (fixed is None):
        sys.exit("error: give both --moving and --fixed, or neither")
    options: dict[str, Any] = {"output_dir": str(root), "resume": False}
    if moving is None:
        try:
            pair = write_demo_pair(root / "demo_pair")
        except InputError as error:
            sys.exit(f"error: {error}")
        print(f"demo pair written to {root / 'demo_pair'} ({NOTE})")
        options |= {
            "moving": str(pair.moving), "fixed": str(pair.fixed), "note": NOTE,
            "moving_landmarks": str(pair.moving_landmarks), "fixed_landmarks": str(pair.fixed_landmarks),
            "moving_annotations": str(pair.moving_annotations),
        }  # fmt: skip
    else:
        options |= {"moving": moving, "fixed": fixed}
    files = Path(str(options["moving"])), Path(str(options["fixed"]))
    name = free_id(root, Pair("demo" if moving is None else derived_id(*files), *files))
    open_bundle(DEFAULT, id=name, **options).run()
    metrics = read_metrics(root / name)
    marks = metrics.get("landmarks")
    if marks:
        print(
            f"\nrTRE (error of {marks['count']} landmarks, share of the image diagonal): "
            f"before mean {marks['initial_mean']:.5f}, after mean {marks['mean']:.5f}, median {marks['median']:.5f}, "
            f"largest {marks['max']:.5f}"
        )


def free_id(root: Path, pair: Pair) -> str:
    """The pair's id, numbered where that is another pair's result."""
    for number in itertools.count(1):
        name = pair.id if number == 1 else f"{pair.id}_{number}"
        if other_images(find_metrics(root / name) or {}, pair) is None:
            return name
    raise AssertionError


if __name__ == "__main__":
    with stopped_by_signals():
        fire.Fire(demo)
