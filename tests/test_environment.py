"""The installed packages fit together and are the ones that constraints.txt promises."""

from __future__ import annotations

import importlib.metadata
import re
import tomllib
from pathlib import Path

import cv2
import numpy as np
import pytest
from packaging.requirements import Requirement

REPAIR = (
    "pip uninstall -y opencv-python && "
    "pip install --force-reinstall --no-deps opencv-python-headless -c constraints.txt "
    "(see docs/installation.md)"
)


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _pins(repository: Path) -> dict[str, str]:
    lines = (repository / "constraints.txt").read_text().splitlines()
    pins = (line.split("==") for line in lines if line and not line.startswith("#"))
    return {_canonical(name): version for name, version in pins}


def _declared(repository: Path) -> list[Requirement]:
    project = tomllib.loads((repository / "pyproject.toml").read_text())["project"]
    # the baselines ask for older NumPy and SciPy, so they have an environment of their own, without the constraints
    extras = [line for name, lines in project["optional-dependencies"].items() if name != "baselines" for line in lines]
    return [Requirement(line) for line in project["dependencies"] + extras]


def test_cv2_imports_and_filters_an_image():
    image = np.zeros((64, 64), np.uint8)
    image[16:48, 16:48] = 200
    assert cv2.createCLAHE(2.0, (8, 8)).apply(image).shape == image.shape


def test_only_one_opencv_distribution_owns_cv2():
    owners = {
        dist.metadata["Name"]
        for dist in importlib.metadata.distributions()
        if _canonical(dist.metadata["Name"] or "").startswith("opencv-")
    }
    assert len(owners) == 1, f"{sorted(owners)} write the same folder cv2; repair with: {REPAIR}"


def test_constraints_pin_every_declared_dependency_inside_its_range(repository):
    pins = _pins(repository)
    wrong = [
        f"{requirement} but {pins.get(_canonical(requirement.name), 'no pin')}"
        for requirement in _declared(repository)
        if not requirement.specifier.contains(pins.get(_canonical(requirement.name), "0"))
    ]
    assert not wrong


def test_constraints_name_no_local_build(repository):
    assert not [name for name, version in _pins(repository).items() if "+" in version]


@pytest.mark.parametrize("module", ["monai.bundle", "monai.networks.nets", "ignite.engine", "kornia.feature"])
def test_libraries_import_whatever_state_torchvision_is_in(module):
    importlib.import_module(module)
