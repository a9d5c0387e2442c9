"""The metadata of a packed bundle."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from importlib.metadata import PackageNotFoundError, packages_distributions, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from custom_components.common.errors import InputError
from custom_components.common.version import VERSION

# Keys of their own in MONAI's schema; everything else stands under REQUIRED.
VERSIONS = {"monai": "monai_version", "torch": "pytorch_version", "numpy": "numpy_version"}
REQUIRED = "required_packages_version"
TOOLS = ("jsonschema", "onnx", "onnxscript")  # of MONAI's commands verify_metadata and onnx_export


def read_metadata(bundle: Path) -> dict[str, Any]:
    """The bundle's metadata.

    Raises:
        InputError: there is none, it is no JSON, or its changelog does not know its version.
    """
    file = bundle / "configs" / "metadata.json"
    if not file.is_file():
        raise InputError(f"{bundle} is not a bundle: {file} does not exist")
    try:
        metadata: dict[str, Any] = json.loads(file.read_text())
    except ValueError as error:
        raise InputError(f"{file} is not valid JSON: {error}") from error
    said = metadata.get("version")
    if not said or said not in metadata.get("changelog", {}):
        raise InputError(f"{file}: the changelog has no entry for the version, {said}; say there what changed")
    return metadata


def completed(
    metadata: Mapping[str, Any], packages: Iterable[str], without: Iterable[str] = (), with_warpzoo: bool = False
) -> dict[str, Any]:
    """The metadata with the version of everything that the packed bundle needs, and of what MONAI's tools need.

    What it says already stays; what is missing gets the installed version.

    Args:
        metadata: of the bundle.
        packages: what its code imports, by the name that is imported.
        without: distributions that the packed form does not need.
        with_warpzoo: it needs WarpZoo itself.

    Raises:
        InputError: a version is missing and the package is not installed.
    """
    result = dict(metadata)
    required = {name: said for name, said in metadata.get(REQUIRED, {}).items() if name not in set(without)}
    installed = packages_distributions()  # once: it reads the list of files of everything that is installed
    for package in sorted({*packages, *VERSIONS, "yaml"}):  # the configs are YAML, which MONAI reads where PyYAML is
        name = _distribution(installed.get(package, [package]), required)
        if name in VERSIONS:
            result.setdefault(VERSIONS[name], _installed(name))
        elif name not in required:
            required[name] = _installed(name)
    if with_warpzoo:
        required["warpzoo"] = VERSION
    result[REQUIRED] = {**{name: _installed(name) for name in TOOLS if find_spec(name)}, **required}
    result["packed_by"] = f"warpzoo {VERSION}"
    return result


def _distribution(candidates: Iterable[str], known: Mapping[str, str]) -> str:
    """Of the distributions that bring a package one that is known already, else the first, in lower case."""
    names = [name.lower() for name in candidates]
    umbrella = [name.split("-")[0] for name in names]  # itk is made of itk-core, itk-io, ...
    return next((name for name in (*names, *umbrella) if name in known), names[0])


def _installed(name: str) -> str:
    try:
        return version(name).split("+")[0]  # 2.13.0+cpu is 2.13.0 wherever the bundle goes
    except PackageNotFoundError as error:
        raise InputError(f"{name} is not installed: name its version in the metadata's {REQUIRED}") from error
