"""Fixtures that every test may ask for."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import settings
from scipy.ndimage import gaussian_filter
from threadpoolctl import threadpool_limits

from custom_components.pairs import write_image

REPOSITORY = Path(__file__).resolve().parents[1]

# The tests run in several processes side by side, so each keeps to one thread.
THREADS = int(os.environ.get("OMP_NUM_THREADS", "1"))
torch.set_num_threads(THREADS)
threadpool_limits(THREADS, user_api="blas")
# A busy machine must not fail a property.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")


def folder_or_skip(variable: str, default: Path | None, what: str) -> Path:
    """Folder that the environment variable names, else the default; skip the test when there is none."""
    named = os.environ.get(variable)
    folder = Path(named) if named else default
    if folder is None:
        pytest.skip(f"{what} not given: set {variable}")
    if not folder.is_dir():
        pytest.skip(f"{what} not found at {folder}: set {variable}")
    return folder


@pytest.fixture(autouse=True)
def same_numbers() -> None:
    """Random tensors are the same in every run, in any order of the tests; NumPy's take a seed where they are made."""
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def repository() -> Path:
    """Root of the checkout."""
    return REPOSITORY


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real data sets, which are no part of the project; set WARPZOO_DATA to say where it is."""
    return folder_or_skip("WARPZOO_DATA", REPOSITORY.parent / "shared" / "data", "real data")


@pytest.fixture(scope="session")
def shared_cases() -> Path:
    """Folder of inputs of known truth, no part of the project either; set WARPZOO_CASES to say where it is."""
    return folder_or_skip("WARPZOO_CASES", REPOSITORY.parent / "shared" / "cases", "cases")


@pytest.fixture(scope="session")
def schemas() -> Path:
    """Folder of MONAI's `meta_schema_*.json` files; set WARPZOO_SCHEMAS to say where it is."""
    default = REPOSITORY.parent / "shared" / "tools" / "schemas"
    return folder_or_skip("WARPZOO_SCHEMAS", default, "metadata schemas")


@pytest.fixture(scope="session")
def chromium() -> Callable[[int, int], Any]:
    """Opens a headless Chromium with a window of so many pixels; who opens it quits it."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed: pip install '.[browser]'")
    program, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if program is None or driver is None:
        pytest.skip("chromium and chromedriver are not installed (Debian: chromium, chromium-driver)")

    def opened(width: int, height: int) -> Any:
        options = webdriver.ChromeOptions()
        options.binary_location = program
        for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", f"--window-size={width},{height}"):
            options.add_argument(argument)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        return webdriver.Chrome(options, webdriver.ChromeService(driver))

    return opened


@pytest.fixture
def labelled_table(tmp_path: Path) -> Path:
    """A pair table of small images with label maps, one or two voxels apart."""
    lines = ["id,moving,fixed,moving_labels,fixed_labels,status"]
    for number in range(3):
        image = gaussian_filter(np.random.default_rng(0).normal(size=(48, 56)), 3)
        image = np.roll((image - image.min()) / np.ptp(image), number, axis=1)
        for kind, array in (("image", 255 * image), ("labels", 1 + (image > 0.5))):
            write_image(tmp_path / f"{kind}{number}.png", array.astype(np.uint8)[None])
    for moving, fixed, status in (
        (0, 1, "training"),
        (1, 0, "training"),
        (1, 2, "evaluation"),
        (0, 2, "evaluation"),
        (2, 1, "validation"),
    ):
        files = [f"{kind}{number}.png" for kind in ("image", "labels") for number in (moving, fixed)]
        lines.append(",".join([f"{moving}{fixed}", *files, status]))
    (tmp_path / "pairs.csv").write_text("\n".join(lines))
    return tmp_path / "pairs.csv"
