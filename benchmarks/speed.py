"""Seconds, memory and error of the patch pyramid and of its rivals, on one tissue image at several sizes.

    python -m benchmarks.speed --weights model.pt --sizes 512 2048
    python -m benchmarks.speed --sizes 8192 16384 --methods "patch pyramid"

Prints Markdown. Each figure comes from a process of its own, so that no method pays for another's memory.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from importlib.util import find_spec
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import numpy as np
import torch
from torch import Tensor

from benchmarks.dis_baseline import Bytes, dis_ddf
from benchmarks.known_pair import ENLARGED, mean_error, tissue_pair
from custom_components.common.errors import InputError
from custom_components.common.weights import load_state, read_state
from custom_components.inferers import Estimate, FlowRefinement, InstanceOptimisation, PairImages, PatchPyramid, Step
from custom_components.inferers.flow_refinement import to_bytes
from custom_components.inferers.patch_pyramid import PatchGroup, level_images
from custom_components.inferers.patches import plan_patches
from custom_components.networks import NetworkPyramid, PatchUNet

PATCH_SIZES = (128, 256, 256)
MIB = 2**20


@dataclass(frozen=True)
class Setting:
    """What one process measures.

    Attributes:
        method: a key of ``METHODS``.
        size: pixels a side.
        weights: of the patch networks; None takes random ones.
        amplitude: largest displacement, as a share of the size or of ``ENLARGED``, whichever is smaller.
        iterations: looks at each level of the pyramid.
        stride: between patches, as a share of their size.
        group_size: patches at a time.
        threads: of every library.
        device: of images and networks; OpenCV and elastix work on the CPU.
    """

    method: str
    size: int
    weights: str | None = None
    amplitude: float = 0.012
    iterations: int = 2
    stride: float = 0.5
    batch_size: int = 16
    threads: int = 1
    device: str = "cpu"


@dataclass(frozen=True)
class Measured:
    """What it found.

    Attributes:
        seconds: for one pair in memory.
        memory: MiB that the process grew by, beyond images, masks and libraries; NaN where the system doesn't say.
        cuda: MiB on the GPU at the same time, beyond the images; NaN without one.
        before: mean distance to the known field, pixels, of no displacement.
        after: likewise, of what was found.
        missing: why there are no figures.
    """

    seconds: float = float("nan")
    memory: float = float("nan")
    cuda: float = float("nan")
    before: float = float("nan")
    after: float = float("nan")
    missing: str = ""


# the methods


def level_networks(weights: str | None) -> NetworkPyramid:
    """The networks of ``bundles/patch_nonrigid``; a file may hold those of all levels, or one for each of them.

    Raises:
        InputError: the weights are those of another network.
    """
    torch.manual_seed(0)
    network = PatchUNet(channels=(16, 32, 64, 128, 256), head_channels=(16, 16))
    state = {} if weights is None else read_state(weights, weights)
    if state and not any(name.startswith("levels.") for name in state):
        load_state(network, str(weights), state)
    pyramid = NetworkPyramid(network, len(PATCH_SIZES))
    if state and any(name.startswith("levels.") for name in state):
        load_state(pyramid, str(weights), state)
    return pyramid.eval()


def patch_pyramid(setting: Setting) -> PatchPyramid:
    """As the bundle sets it up."""
    return PatchPyramid(
        level_networks(setting.weights).to(setting.device),
        iterations=setting.iterations,
        patch_size=PATCH_SIZES,
        stride=[max(int(size * setting.stride), 1) for size in PATCH_SIZES],
        batch_size=setting.batch_size,
    )


def elastix_ddf(moving: Bytes, fixed: Bytes, threads: int) -> Tensor:
    """What elastix's own default for B-splines finds; control points are 1/16 of the larger side apart.

    Args:
        moving: (H, W).
        fixed: (H, W).
        threads: of elastix.

    Returns:
        (1, 2, H, W) float32, pixels, (row, col), fixed -> moving.
    """
    import itk

    parameters = itk.ParameterObject.New()
    resolutions = max(1, int(np.log2(min(fixed.shape) / 32)))
    parameters.AddParameterMap(parameters.GetDefaultParameterMap("bspline", resolutions, max(fixed.shape) / 16))
    pair = [itk.image_from_array(np.asarray(image, np.float32)) for image in (fixed, moving)]
    _, transform = itk.elastix_registration_method(
        *pair, parameter_object=parameters, log_to_console=False, number_of_threads=threads
    )
    with TemporaryDirectory() as folder:  # where it also writes the field
        displacement = itk.transformix_deformation_field(pair[1], transform, output_directory=folder)
    found = itk.array_from_image(displacement)  # (H, W, 2) x, y
    return torch.from_numpy(np.ascontiguousarray(found[..., ::-1].transpose(2, 0, 1), np.float32))[None]


Method = Callable[[PairImages], Tensor]


def _in_turn(*steps: Step) -> Method:
    def register(images: PairImages) -> Tensor:
        estimate = Estimate.identity(images.shape, images.fixed.device)
        with torch.no_grad():
            for step in steps:
                estimate = step(images, estimate)
        return estimate.ddf

    return register


def _on_bytes(find: Callable[[Bytes, Bytes], Tensor]) -> Method:
    def register(images: PairImages) -> Tensor:
        return find(to_bytes(images.moving), to_bytes(images.fixed))

    return register


def _pyramid_alone(setting: Setting) -> Method:
    return _in_turn(patch_pyramid(setting))


def _pyramid_and_optimisation(setting: Setting) -> Method:
    return _in_turn(patch_pyramid(setting), InstanceOptimisation())


def _dis_flow(setting: Setting) -> Method:
    return _on_bytes(dis_ddf)


def _flow_refinement(setting: Setting) -> Method:
    return _in_turn(FlowRefinement())


def _elastix(setting: Setting) -> Method:
    return _on_bytes(partial(elastix_ddf, threads=setting.threads))


METHODS: dict[str, Callable[[Setting], Method]] = {
    "patch pyramid": _pyramid_alone,
    "patch pyramid + optimisation": _pyramid_and_optimisation,
    "DIS flow": _dis_flow,
    "flow refinement": _flow_refinement,
    "elastix": _elastix,
}


# measuring


def _status(name: str) -> float:
    """MiB of a line of the process's status, NaN where the system has none."""
    with suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith(f"{name}:"):
                return int(line.split()[1]) / 1024
    return float("nan")


def observed(call: Callable[[], Tensor], device: str = "cpu") -> tuple[Tensor, Measured]:
    """What ``call`` returns, and its seconds and memory."""
    with suppress(OSError):  # Linux forgets the peak so far
        Path("/proc/self/clear_refs").write_text("5")
    on_gpu = torch.device(device).type == "cuda"
    held = 0
    if on_gpu:
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        held = torch.cuda.memory_allocated()
    resident, start = _status("VmRSS"), time.perf_counter()
    result = call()
    if on_gpu:
        torch.cuda.synchronize()
    seconds = time.perf_counter() - start
    cuda = (torch.cuda.max_memory_allocated() - held) / MIB if on_gpu else float("nan")
    return result, Measured(seconds, _status("VmHWM") - resident, cuda)


def _limit_threads(number: int) -> None:
    torch.set_num_threads(number)
    cv2.setNumThreads(number)


def measure(setting: Setting) -> Measured:
    """One method on one pair, in this process."""
    if setting.method == "elastix" and find_spec("itk.ElastixPython") is None:
        return Measured(missing="not installed: pip install itk-elastix")
    _limit_threads(setting.threads)
    method = METHODS[setting.method](setting)
    method(_on(tissue_pair(min(setting.size, 128), setting.amplitude), setting.device))  # loads what is loaded once
    images = _on(tissue_pair(setting.size, setting.amplitude), setting.device)
    ddf, figures = observed(lambda: method(images), setting.device)
    return replace(
        figures,
        before=mean_error(None, setting.size, setting.amplitude),
        after=mean_error(ddf, setting.size, setting.amplitude),
    )


def network_memory(setting: Setting) -> Measured:
    """One group of patches, from the images to its steps, at the finest level of a pair that is kept off the GPU."""
    _limit_threads(setting.threads)
    pyramid = patch_pyramid(setting)
    level = level_images(tissue_pair(setting.size, setting.amplitude), np.eye(3), 1.0)
    residual = torch.zeros(1, 2, *level.shape)
    patches = plan_patches(level.shape, pyramid.patch_size[-1], pyramid.stride[-1])
    middle = max((len(patches) - setting.batch_size) // 2, 0)
    members = patches[middle : middle + setting.batch_size]

    def steps() -> Tensor:
        group = PatchGroup(level, residual, members, pyramid.patch_size[-1], torch.device(setting.device))
        with torch.no_grad():
            found: Tensor = pyramid.network(group.image, -1)
        return found

    return observed(steps, setting.device)[1]


def _on(images: PairImages, device: str) -> PairImages:
    parts = (images.moving, images.fixed, images.moving_mask, images.fixed_mask)
    return PairImages(*(part.to(device) for part in parts))


def isolated(function: Callable[[Setting], Measured], setting: Setting) -> Measured:
    """``function`` in a fresh process; what goes wrong there is the reason of a row without figures."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        try:
            return pool.submit(function, setting).result()
        except BrokenProcessPool:
            return Measured(missing="the process was ended from outside, probably for want of memory")
        except Exception as error:  # one method that fails must not cost the others their rows
            return Measured(missing=" ".join(f"{type(error).__name__}: {error}".split()))


# the tables


def _cell(value: float, digits: int) -> str:
    return f"{value:.{digits}f}" if np.isfinite(value) else "-"


def table(settings: Sequence[Setting], run: Callable[[Callable[..., Measured], Setting], Measured] = isolated) -> str:
    """Markdown, a row for each setting."""
    lines = [
        "| size | method | seconds a pair | memory, MiB | GPU memory, MiB | mean error before, px | after, px |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for setting in settings:
        found = run(measure, setting)
        figures = (found.seconds, found.memory, found.cuda, found.before, found.after)
        cells = " | ".join(_cell(value, digits) for value, digits in zip(figures, (2, 0, 0, 2, 2), strict=True))
        if found.missing:
            cells = f"{found.missing} | | | |"
        lines.append(f"| {setting.size} | {setting.method} | {cells} |")
        print(lines[-1], file=sys.stderr, flush=True)
    return "\n".join(lines)


def memory_table(
    settings: Sequence[Setting], run: Callable[[Callable[..., Measured], Setting], Measured] = isolated
) -> str:
    """Markdown, what one group of patches takes at each size."""
    lines = ["| size | one group of patches, MiB | on the GPU, MiB |", "| --- | --- | --- |"]
    for setting in settings:
        found = run(network_memory, setting)
        cells = found.missing + " |" if found.missing else f"{_cell(found.memory, 0)} | {_cell(found.cuda, 0)}"
        lines.append(f"| {setting.size} | {cells} |")
    return "\n".join(lines)


def caption(setting: Setting) -> str:
    """What the tables were made with."""
    networks = (
        f"the networks of {setting.weights}"
        if setting.weights
        else "random weights, which take the same time and memory but find nothing"
    )
    device = torch.cuda.get_device_name() if torch.device(setting.device).type == "cuda" else "the CPU"
    return (
        f"scikit-image's immunohistochemistry image, enlarged to at most {ENLARGED} px and mirrored beyond, bent by a "
        f"known smooth field of at most {setting.amplitude:.1%} of that; on {device}, {setting.threads} thread(s); "
        f"patch pyramid with {networks}, {setting.iterations} looks at each level, groups of {setting.batch_size} "
        f"patches, {setting.stride:g} of their size apart. Memory is what the process grew by, beyond images, masks "
        "(4 bytes a pixel each) and libraries."
    )


def main(arguments: Sequence[str] | None = None) -> str:
    """The tables that the command line asks for."""
    parser = argparse.ArgumentParser(prog="benchmarks.speed", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--weights", help="of the patch networks; random ones if left out")
    parser.add_argument("--sizes", type=int, nargs="+", default=[512, 2048], help="pixels a side")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS), metavar="METHOD",
                        help=", ".join(METHODS))  # fmt: skip
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--amplitude", type=float, default=Setting.amplitude, help="of the known field, see Setting")
    parser.add_argument("--iterations", type=int, default=Setting.iterations)
    parser.add_argument("--stride", type=float, default=Setting.stride, help="share of the patch size")
    parser.add_argument("--batch_size", type=int, default=Setting.batch_size)
    parser.add_argument("--network_memory", action=argparse.BooleanOptionalAction, default=True,
                        help="also print what one group of patches takes")  # fmt: skip
    chosen = vars(parser.parse_args(arguments))
    sizes, methods, memory_too = chosen.pop("sizes"), chosen.pop("methods"), chosen.pop("network_memory")
    if min(sizes) < 32:
        raise InputError(f"sizes are at least 32 pixels, got {min(sizes)}")
    if chosen["weights"] is not None:
        level_networks(chosen["weights"])  # a wrong file is told at once
    settings = [Setting(method, size, **chosen) for size in sizes for method in methods]
    parts = [caption(settings[0]), table(settings)]
    if memory_too:
        parts.append(memory_table([Setting("patch pyramid", size, **chosen) for size in sizes]))
    return "\n\n".join(parts)


if __name__ == "__main__":
    print(main())
