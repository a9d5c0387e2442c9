"""The same pair gives the same field: to the last bit on as many threads, and nearly so on any number of them."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
import SimpleITK as sitk
import torch

from custom_components.bundles import open_bundle
from custom_components.pairs.demo import write_demo_pair

BUNDLES = ("histology_registration", "hybrid_matching", "patch_nonrigid", "keypoint_guided")
TOLERANCE = 0.02  # pixels between fields of different numbers of threads
OPTIONS = {"report": False, "device": "cpu"}


@pytest.fixture
def threads():
    """Sets the number of threads; it is put back."""
    before = torch.get_num_threads(), cv2.getNumThreads()

    def use(count: int) -> None:
        torch.set_num_threads(count)
        cv2.setNumThreads(count)

    yield use
    torch.set_num_threads(before[0])
    cv2.setNumThreads(before[1])


def field(bundle: str, pair, folder: Path) -> np.ndarray:
    options = {"moving": str(pair.moving), "fixed": str(pair.fixed), "output_dir": str(folder), "id": "demo"}
    open_bundle(bundle, **options, **OPTIONS).run()
    return sitk.GetArrayFromImage(sitk.ReadImage(str(folder / "demo" / "displacement.mha")))


@pytest.mark.slow
@pytest.mark.parametrize("bundle", BUNDLES)
def test_threads_change_nothing_that_can_be_seen(bundle, threads, tmp_path) -> None:
    pair = write_demo_pair(tmp_path / "pair")
    found = []
    for run, count in enumerate((1, 2, 2, 4)):
        threads(count)
        found.append(field(bundle, pair, tmp_path / str(run)))
    assert np.array_equal(found[1], found[2])
    for other in (found[0], found[3]):
        assert np.abs(other - found[1]).max() < TOLERANCE
    assert np.abs(found[0]).max() > 5  # pixels: there is something to find


@pytest.mark.slow
def test_processes_give_the_bytes_of_one_after_another(tmp_path) -> None:
    pair = write_demo_pair(tmp_path / "pair")
    rows = [
        {"id": "forth", "moving": pair.moving, "fixed": pair.fixed},
        {"id": "back", "moving": pair.fixed, "fixed": pair.moving},
    ]
    pd.DataFrame(rows).to_csv(tmp_path / "pairs.csv", index=False)
    for name, processes in (("serial", 0), ("side by side", 2)):
        options = {"pairs": str(tmp_path / "pairs.csv"), "output_dir": str(tmp_path / name), "processes": processes}
        open_bundle("hybrid_matching", **options, **OPTIONS).run()
    for row in rows:
        one, other = (tmp_path / name / row["id"] / "displacement.mha" for name in ("serial", "side by side"))
        assert one.read_bytes() == other.read_bytes()
