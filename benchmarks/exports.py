"""Each network as it is, scripted, through ONNX, in bfloat16 and compiled: differences and seconds.

    python -m benchmarks.exports
    python -m benchmarks.exports --networks "patch_nonrigid joint_saliency" --forms "network torchscript"

Prints Markdown. One tissue pair, bent by a known field, goes through every form; the differences are to the network as
it is in float32 on the same machine. ``--to`` keeps the exports.
"""

from __future__ import annotations

import argparse
import logging
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import torch
from monai.bundle import ConfigParser
from torch import Tensor, nn

from benchmarks.known_pair import tissue_pair
from custom_components.common.errors import InputError
from custom_components.common.weights import load_state, read_state
from custom_components.matching.weights import load

Run = Callable[[Tensor], Tensor]
AMPLITUDE = 0.012  # of the known field, share of the size


@dataclass(frozen=True)
class Case:
    """A network of a bundle.

    Attributes:
        bundle: whose inference.yaml defines it.
        key: of the definition there.
        weights: file in its models, or None for XFeat's published ones.
        channels: of the input: a pair, or one image.
        multiple: of the sides that an ONNX export takes.
    """

    bundle: str
    key: str = "network_def"
    weights: str | None = "model.pt"
    channels: int = 2
    multiple: int = 1


CASES = {
    "patch_nonrigid": Case("patch_nonrigid"),
    "patch_nonrigid.affine": Case("patch_nonrigid", "affine_network", "affine.pt"),
    "keypoint_guided": Case("keypoint_guided", multiple=64),
    "semantic_similarity": Case("semantic_similarity"),
    "joint_saliency": Case("joint_saliency"),
    "hybrid_matching": Case("hybrid_matching", weights=None, channels=1, multiple=32),
}


def benchmark_network(case: Case, bundles: Path = Path("bundles")) -> nn.Module:
    """The network with its weights, in evaluation mode."""
    parser = ConfigParser()
    parser.read_config(str(bundles / case.bundle / "configs" / "inference.yaml"))
    network: nn.Module = parser.get_parsed_content(case.key)
    if case.weights is None:
        load_state(network, "xfeat", {f"net.{key}": value for key, value in load("xfeat").items()})
    else:
        file = bundles / case.bundle / "models" / case.weights
        load_state(network, str(file), read_state(file, str(file)))
    return network.eval()


def benchmark_image(case: Case, size: int) -> Tensor:
    """(1, channels, size, size): moving and fixed, or the fixed image alone."""
    pair = tissue_pair(size, AMPLITUDE)
    return torch.cat([pair.moving, pair.fixed], dim=1)[:, -case.channels :]


def scripted(network: nn.Module, case: Case, file: Path) -> Run:
    """Through a TorchScript file."""
    torch.jit.script(network).save(str(file.with_name(f"{file.name}.ts")))
    module = torch.jit.load(str(file.with_name(f"{file.name}.ts")))
    return lambda image: module(image)


def onnx(network: nn.Module, case: Case, file: Path) -> Run:
    """Through an ONNX file, run by ONNX Runtime on as many threads as torch has."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    written = file.with_name(f"{file.name}.onnx")
    write_onnx(network, case, written)
    session = onnxruntime.InferenceSession(str(written), options)
    return lambda image: torch.from_numpy(session.run(None, {"image": image.numpy()})[0])


def write_onnx(network: nn.Module, case: Case, file: Path) -> None:
    """An ONNX file for any batch and sides.

    The default exporter of torch follows what the network computes from the size; the older one, ``dynamo=False``,
    bakes the size of the example into networks that resample, and the file then is wrong at every other size.
    """
    sides = [torch.export.Dim(name, min=1, max=4096 // case.multiple) for name in ("height", "width")]
    height, width = sides if case.multiple == 1 else [case.multiple * side for side in sides]
    shapes = ({0: torch.export.Dim("batch", min=1, max=64), 2: height, 3: width},)
    image = torch.rand(2, case.channels, 256, 192)  # no side is like another, and none is 1, which is baked in
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.getLogger("torch.onnx").setLevel(logging.ERROR)
        torch.onnx.export(
            network,
            (image,),
            str(file),
            dynamo=True,
            dynamic_shapes=shapes,
            external_data=False,
            input_names=["image"],
            output_names=["pred"],
            verbose=False,
        )


def in_bfloat16(network: nn.Module, case: Case, file: Path) -> Run:
    """Under autocast, as ``--half true`` does it."""

    def run(image: Tensor) -> Tensor:
        with torch.autocast(image.device.type, torch.bfloat16):
            result: Tensor = network(image)
        return result.float()

    return run


def compiled(network: nn.Module, case: Case, file: Path) -> Run:
    """By ``torch.compile``; the first call at a size compiles, and is not measured."""
    module = torch.compile(network)
    return lambda image: module(image)


FORMS: dict[str, Callable[[nn.Module, Case, Path], Run]] = {
    "network": lambda network, case, file: network,
    "torchscript": scripted,
    "onnx": onnx,
    "bfloat16": in_bfloat16,
    "compile": compiled,
}


def seconds(run: Run, image: Tensor, repeats: int) -> float:
    """Median of ``repeats`` calls after one that warms up."""
    run(image)
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        run(image)
        times.append(time.perf_counter() - start)
    return median(times)


def measured(name: str, forms: Sequence[str], sizes: Sequence[int], repeats: int, folder: Path) -> list[str]:
    """Rows of the table of one network."""
    case = CASES[name]
    network = benchmark_network(case)
    images = {size: benchmark_image(case, size) for size in sizes}
    rows = []
    with torch.no_grad():
        truth = {size: network(image) for size, image in images.items()}
        for form in forms:
            start = time.perf_counter()
            try:
                run = FORMS[form](network, case, folder / name)
                run(images[sizes[0]])
                made = time.perf_counter() - start
                cells = []
                for size, image in images.items():
                    difference = float((run(image) - truth[size]).abs().max())
                    cells.append(f"{seconds(run, image, repeats):.3f} | {difference:.1e}")
                largest = " / ".join(f"{float(value.abs().max()):.1f}" for value in truth.values())
                rows.append(f"| {name} | {form} | {made:.1f} | {' | '.join(cells)} | {largest} |")
            except Exception as error:  # a form that fails is a result
                reason = str(error).strip().splitlines()[0][:80] if str(error).strip() else ""
                rows.append(f"| {name} | {form} | {type(error).__name__}: {reason} |" + " |" * (2 * len(sizes) + 1))
    return rows


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--networks", help="names, divided by blanks; default all")
    parser.add_argument("--forms", default=" ".join(FORMS), help=" ".join(FORMS))
    parser.add_argument("--sizes", type=int, nargs="+", default=[256, 512], help="pixels a side")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--to", type=Path, help="folder that keeps the exports")
    given = parser.parse_args(arguments)
    forms = given.forms.split()
    names = list(CASES) if given.networks is None else given.networks.split()
    unknown = [name for name in names if name not in CASES] + [form for form in forms if form not in FORMS]
    if unknown:
        raise InputError(f"'{unknown[0]}' is none of {', '.join([*CASES, *FORMS])}")
    if "onnx" in forms and not (find_spec("onnxruntime") and find_spec("onnxscript")):
        raise InputError("onnxruntime or onnxscript is not installed: pip install 'warpzoo[export]', or leave out onnx")
    torch.set_num_threads(given.threads)
    heads = " | ".join(f"{size} px, s | difference" for size in given.sizes)
    print(f"| network | form | made in, s | {heads} | largest value |", flush=True)
    print("| --- " * (2 * len(given.sizes) + 4) + "|", flush=True)
    with TemporaryDirectory() as temporary:
        folder = given.to or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        for name in names:
            for form in forms:
                print("\n".join(measured(name, [form], given.sizes, given.repeats, folder)), flush=True)


if __name__ == "__main__":
    try:
        main()
    except InputError as error:
        sys.exit(f"error: {error}")
