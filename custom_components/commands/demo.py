"""``make demo``: two real stains and a pair with an exact answer, or two images of the user's, and how it went."""

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
from custom_components.demo_images import kidney_pair
from custom_components.outputs.identity import other_images
from custom_components.pairs import Pair
from custom_components.pairs.demo import write_demo_pair
from custom_components.pairs.table import derived_id
from custom_components.results.record import find_metrics, read_metrics

KIDNEY = (
    "Real: neighbouring sections of a rat kidney, HE and pan-cytokeratin. The landmarks were set by hand, and differ "
    "by some pixels from person to person. From the sample images of BIRL (BSD-3-Clause)."
)
NOTE = (
    "Half real, half made: the fixed image is a real immunohistochemistry section; the moving one is its haematoxylin "
    "alone, by colour deconvolution, turned by 25 degrees and bent by a known smooth field. The landmarks are exact."
)


def demo(output_dir: str = "out", moving: str | None = None, fixed: str | None = None) -> None:
    """Register the demo pairs into ``<output_dir>/kidney`` and ``demo``, or ``moving`` onto ``fixed``.

    These get a folder of their names, numbered where that is the result of other images.

    Args:
        output_dir: made if absent.
        moving: an image of the user's; with ``fixed``, instead of the demo pairs.
        fixed: an image of the user's.
    """
    root = Path(output_dir)
    if (moving is None) != (fixed is None):
        sys.exit("error: give both --moving and --fixed, or neither")
    if moving is not None and fixed is not None:
        files = Path(moving), Path(fixed)
        register(root, Pair(derived_id(*files), *files))
        return
    try:
        pairs = {KIDNEY: kidney_pair(), NOTE: write_demo_pair(root / "demo_pair")}
    except InputError as error:
        sys.exit(f"error: {error}")
    for note, pair in pairs.items():
        print(f"\n{pair.id}: {note}")
        register(root, pair, note)


def register(root: Path, pair: Pair, note: str = "") -> None:
    """Register one pair into a folder of its name under ``root``, and print the error at its landmarks."""
    files = ("moving", "fixed", "moving_landmarks", "fixed_landmarks", "moving_annotations")
    given: dict[str, Any] = {name: str(file) for name in files if (file := getattr(pair, name)) is not None}
    name = free_id(root, pair)
    open_bundle(DEFAULT, id=name, output_dir=str(root), resume=False, note=note, **given).run()
    metrics = read_metrics(root / name)
    marks = metrics.get("landmarks")
    if marks:
        print(
            f"rTRE (error of {marks['count']} landmarks, share of the image diagonal): "
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
