"""Fixtures that every test may ask for."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

REPOSITORY = Path(__file__).resolve().parents[1]

# The tests run in several processes side by side, so each keeps to one thread.
torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))


def folder_or_skip(variable: str, default: Path | None, what: str) -> Path:
    """Folder that the environment variable names, else the default; skip the test when there is none."""
    named = os.environ.get(variable)
    folder = Path(named) if named else default
    if folder is None:
        pytest.skip(f"{what} not given: set {variable}")
    if not folder.is_dir():
        pytest.skip(f"{what} not found at {folder}: set {variable}")
    return folder


@pytest.fixture(scope="session")
def repository() -> Path:
    """Root of the checkout."""
    return REPOSITORY


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real data sets, which are no part of the project; set WARPZOO_DATA to say where it is."""
    return folder_or_skip("WARPZOO_DATA", REPOSITORY.parent / "shared" / "data", "real data")


@pytest.fixture(scope="session")
def schemas() -> Path:
    """Folder of MONAI's `meta_schema_*.json` files; set WARPZOO_SCHEMAS to say where it is."""
    default = REPOSITORY.parent / "shared" / "tools" / "schemas"
    return folder_or_skip("WARPZOO_SCHEMAS", default, "metadata schemas")
