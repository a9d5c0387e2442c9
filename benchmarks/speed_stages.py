"""Where the time of each preset of histology_registration goes, by stages, beside DIS, XFeat + DIS and elastix.

    python -m benchmarks.speed_stages --sizes 512 1024 2048 --threads 2

Prints Markdown. The pair is that of benchmarks.speed: tissue of a known smooth warp, in memory, at its whole size. Each
method runs in a process of its own, once on a small pair, so that all is loaded, and then once on the clock. CPU
seconds are those of all threads, and say more than wall seconds where other work shares the machine.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from importlib.util import find_spec
from multiprocessing import get_context
from tempfile import TemporaryDirectory

import cv2
import numpy as np
import torch
from torch import Tensor

from benchmarks.dis_baseline import dis_ddf
from benchmarks.known_pair import mean_error, tissue_pair
from benchmarks.speed import elastix_ddf
from benchmarks.xfeat_baseline import load_xfeat, xfeat_affine
from custom_components.bundles import open_bundle
from custom_components.common.errors import InputError
from custom_components.fields import affine_to_ddf, compose, warp
from custom_components.inferers import Chain, Estimate, PairImages, Step
from custom_components.inferers.chain import step_name
from custom_components.inferers.flow_refinement import to_bytes

PRESETS = ("fast", "balanced", "best")
RIVALS = ("dis", "xfeat+dis", "elastix")
AMPLITUDE = 0.012  # of the known field, share of the size
SMALL = 192  # pixels a side of the pair that loads everything


@dataclass(frozen=True)
class Spent:
    """What a stage took.

    Attributes:
        stage: its name; "all" for the whole.
        wall: seconds.
        cpu: seconds, of all threads.
        after: mean distance to the known field, pixels; NaN but for the whole.
    """

    stage: str
    wall: float
    cpu: float
    after: float = float("nan")


class Clock:
    """Collects what stages take, in the order in which they begin."""

    def __init__(self) -> None:
        self.spent: list[Spent] = []

    def __call__(self, stage: str, call: Callable[[], Tensor | Estimate]) -> Tensor | Estimate:
        """What ``call`` returns."""
        wall, cpu = time.perf_counter(), time.process_time()
        result = call()
        self.spent.append(Spent(stage, time.perf_counter() - wall, time.process_time() - cpu))
        return result


def timed_steps(chain: Chain, clock: Clock) -> Chain:
    """The chain, its steps on the clock."""

    def on_clock(step: Step) -> Step:
        def run(images: PairImages, estimate: Estimate) -> Estimate:
            found = clock(step_name(step), lambda: step(images, estimate))
            assert isinstance(found, Estimate)
            return found

        return run

    return Chain([on_clock(step) for step in chain.steps], chain.inverse_iterations)


def preset(quality: str) -> Callable[[PairImages, Clock], Tensor]:
    """The inferer of a preset, which takes the images at the size that they have."""
    with TemporaryDirectory() as folder:
        chain = open_bundle("histology_registration", quality=quality, output_dir=folder).parser().get_parsed_content(
            "inferer"
        )  # fmt: skip

    def run(images: PairImages, clock: Clock) -> Tensor:
        timed = timed_steps(chain, clock)
        return timed(images).ddf

    return run


def rival(name: str, threads: int) -> Callable[[PairImages, Clock], Tensor]:
    """A baseline; ``xfeat+dis`` finds an affine before the flow."""
    if name == "elastix":
        return lambda images, clock: elastix_ddf(to_bytes(images.moving), to_bytes(images.fixed), threads)
    if name == "dis":
        return lambda images, clock: dis_ddf(to_bytes(images.moving), to_bytes(images.fixed))
    model = load_xfeat()

    def run(images: PairImages, clock: Clock) -> Tensor:
        def affine() -> Tensor:
            pair = (to_bytes(image)[None] for image in (images.moving, images.fixed))
            forth = np.vstack([xfeat_affine(model, *pair), [0, 0, 1]])
            return affine_to_ddf(np.linalg.inv(forth), images.shape)

        base = clock("xfeat", affine)
        assert isinstance(base, Tensor)
        flow = clock("dis", lambda: dis_ddf(to_bytes(warp(images.moving, base)), to_bytes(images.fixed)))
        assert isinstance(flow, Tensor)
        return compose(base, flow)

    return run


def measure(method: str, size: int, threads: int) -> list[Spent]:
    """The stages of a method on a pair, in this process, and all of it."""
    torch.set_num_threads(threads)
    cv2.setNumThreads(threads)
    run = preset(method) if method in PRESETS else rival(method, threads)
    run(tissue_pair(SMALL, AMPLITUDE), Clock())
    images, clock = tissue_pair(size, AMPLITUDE), Clock()
    whole = Clock()
    ddf = whole("all", lambda: run(images, clock))
    assert isinstance(ddf, Tensor)
    total = whole.spent[0]
    if method in PRESETS:  # what the chain does besides its steps
        rest = [total.wall - sum(s.wall for s in clock.spent), total.cpu - sum(s.cpu for s in clock.spent)]
        clock.spent.append(Spent("inverse", *rest))
    return [*clock.spent, Spent("all", total.wall, total.cpu, mean_error(ddf, size, AMPLITUDE))]


def isolated(method: str, size: int, threads: int) -> list[Spent] | str:
    """``measure`` in a fresh process, or why there are no figures."""
    if method == "elastix" and find_spec("itk.ElastixPython") is None:
        return "not installed: pip install itk-elastix"
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        try:
            return pool.submit(measure, method, size, threads).result()
        except Exception as error:  # one method that fails must not cost the others their rows
            return " ".join(f"{type(error).__name__}: {error}".split())


def table(
    methods: Sequence[str], sizes: Sequence[int], threads: int,
    run: Callable[[str, int, int], list[Spent] | str] = isolated,
) -> str:  # fmt: skip
    """Markdown, a row for each stage."""
    lines = ["| size | method | stage | wall s | CPU s | mean error, px |", "| --- | --- | --- | --- | --- | --- |"]
    for size in sizes:
        for method in methods:
            found = run(method, size, threads)
            if isinstance(found, str):
                lines.append(f"| {size} | {method} | {found} | | | |")
                continue
            for spent in found:
                after = f"{spent.after:.2f}" if np.isfinite(spent.after) else ""
                lines.append(f"| {size} | {method} | {spent.stage} | {spent.wall:.2f} | {spent.cpu:.2f} | {after} |")
            print(lines[-1], file=sys.stderr, flush=True)
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> str:
    """The table that the command line asks for."""
    parser = argparse.ArgumentParser(prog="benchmarks.speed_stages", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[512, 1024, 2048], help="pixels a side")
    parser.add_argument("--methods", nargs="+", choices=[*PRESETS, *RIVALS], default=[*PRESETS, *RIVALS],
                        metavar="METHOD", help=", ".join([*PRESETS, *RIVALS]))  # fmt: skip
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    chosen = parser.parse_args(arguments)
    if min(chosen.sizes) < SMALL:
        raise InputError(f"sizes are at least {SMALL} pixels, got {min(chosen.sizes)}")
    return table(chosen.methods, chosen.sizes, chosen.threads)


if __name__ == "__main__":
    print(main())
